from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils.module_loading import autodiscover_modules


class AuditConfig(AppConfig):
    name = "killswitch.audit"

    def ready(self) -> None:
        from killswitch.audit.reconciliation import reviews  # noqa: F401 - adds its reconciler
        from killswitch.audit.triggers import protection

        # The log imports no other package. Each one adds what it knows of its events and tables.
        autodiscover_modules("descriptions", "reconciliation")
        post_migrate.connect(protection.reinstall, sender=self)
