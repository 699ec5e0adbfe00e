from django.apps import AppConfig


class AlarmsConfig(AppConfig):
    name = "killswitch.alarms"

    def ready(self) -> None:
        from killswitch.alarms.descriptions import DESCRIPTIONS
        from killswitch.alarms.reconciliation import discrepancies
        from killswitch.audit import descriptions
        from killswitch.audit.reconciliation.comparison import reconcilers

        reconcilers.append(discrepancies)
        descriptions.register(DESCRIPTIONS)
