from django.apps import AppConfig


class CancelsConfig(AppConfig):
    name = "killswitch.cancels"
    label = "cancels"

    def ready(self) -> None:
        from killswitch.audit import descriptions
        from killswitch.audit.reconciliation.registry import add_reconciler
        from killswitch.cancels.descriptions import DESCRIPTIONS
        from killswitch.cancels.reconciliation import discrepancies

        add_reconciler(discrepancies)
        descriptions.register(DESCRIPTIONS)
