from django.apps import AppConfig
from django.db.models.signals import post_migrate


class AuditConfig(AppConfig):
    name = "killswitch.audit"

    def ready(self) -> None:
        from killswitch.audit.reconciliation import reviews
        from killswitch.audit.reconciliation.comparison import reconcilers
        from killswitch.audit.triggers import protection

        reconcilers.append(reviews.discrepancies)
        post_migrate.connect(protection.reinstall, sender=self)
