from django.apps import AppConfig
from django.db.models.signals import post_migrate


class AuditConfig(AppConfig):
    name = "killswitch.audit"
    label = "audit"

    def ready(self) -> None:
        from killswitch.audit import guards, review_table
        from killswitch.audit.agreement import add_witness

        add_witness(review_table.disagreements)
        post_migrate.connect(guards.put_back, sender=self)
