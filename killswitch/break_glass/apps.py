from django.apps import AppConfig


class BreakGlassConfig(AppConfig):
    name = "killswitch.break_glass"
    label = "break_glass"

    def ready(self) -> None:
        # These let kills go on without the database, describe the events of this package, and
        # compare its journal with the log.
        from killswitch.break_glass import carrying_on, descriptions, reconciliation  # noqa: F401
