from django.db import migrations, models


class Migration(migrations.Migration):
    """An index alone is created without a change of the table, which keeps its triggers."""

    dependencies = [("audit", "0006_index_of_events_needing_review")]

    operations = [
        migrations.AddIndex(
            model_name="auditevent",
            index=models.Index(fields=["kind", "actor", "-seq"], name="audit_kind_actor"),
        ),
        migrations.AddIndex(
            model_name="auditevent",
            index=models.Index(fields=["kind", "exchange_id", "-seq"], name="audit_kind_exchange"),
        ),
        migrations.AddIndex(
            model_name="auditevent",
            index=models.Index(fields=["kind", "status", "-seq"], name="audit_kind_status"),
        ),
        migrations.AddIndex(
            model_name="auditevent",
            index=models.Index(fields=["kind", "reject_reason", "-seq"], name="audit_kind_reason"),
        ),
        migrations.AddIndex(
            model_name="auditevent",
            index=models.Index(
                fields=["exchange_id", "reject_reason", "-seq"], name="audit_exchange_reason"
            ),
        ),
    ]
