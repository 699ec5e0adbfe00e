from django.apps import AppConfig


class HoldsConfig(AppConfig):
    name = "killswitch.holds"

    def ready(self) -> None:
        # A press that asks for a Hold starts it: this registers how.
        from killswitch.holds import services  # noqa: F401
