from django.apps import AppConfig


class BreakGlassConfig(AppConfig):
    name = "killswitch.break_glass"
    label = "break_glass"

    def ready(self) -> None:
        # These describe the events of this package, and compare its journal with the log.
        from killswitch.break_glass import descriptions, reconciliation  # noqa: F401
