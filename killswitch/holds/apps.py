from django.apps import AppConfig


class HoldsConfig(AppConfig):
    name = "killswitch.holds"

    def ready(self) -> None:
        # These register how an episode is carried out, and that a press may start a Hold.
        from killswitch.holds import episode, services  # noqa: F401
