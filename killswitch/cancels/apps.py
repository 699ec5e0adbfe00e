from django.apps import AppConfig


class CancelsConfig(AppConfig):
    name = "killswitch.cancels"

    def ready(self) -> None:
        from killswitch.audit import descriptions
        from killswitch.audit.reconciliation.comparison import reconcilers
        from killswitch.cancels.descriptions import DESCRIPTIONS
        from killswitch.cancels.reconciliation import discrepancies

        reconcilers.append(discrepancies)
        descriptions.register(DESCRIPTIONS)
