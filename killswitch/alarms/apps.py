from django.apps import AppConfig


class AlarmsConfig(AppConfig):
    name = "killswitch.alarms"
    label = "alarms"

    def ready(self) -> None:
        from killswitch.alarms.reconciliation import discrepancies
        from killswitch.audit.reconciliation.registry import add_reconciler

        add_reconciler(discrepancies)
