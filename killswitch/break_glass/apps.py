from django.apps import AppConfig


class BreakGlassConfig(AppConfig):
    name = "killswitch.break_glass"
    label = "break_glass"

    def ready(self) -> None:
        # These describe the events of this package, and compare its journal with the log.
        from killswitch.break_glass import descriptions, reconciliation  # noqa: F401
        from killswitch.break_glass.journal_record import JournalRecord
        from killswitch.cancels import request_record

        # This lets kills go on without the database.
        request_record.fallbacks.append(JournalRecord.of_lease)
