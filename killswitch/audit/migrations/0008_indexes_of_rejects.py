from django.db import migrations, models

HAS_REASON = ~models.Q(reject_reason="")


class Migration(migrations.Migration):
    """Few events have a reject reason: the others cost three indexes an entry each, for nothing.

    Indexes alone are changed, which leaves the table and its triggers as they are.
    """

    dependencies = [("audit", "0007_indexes_of_pairs")]

    operations = [
        migrations.RemoveIndex(model_name="auditevent", name="audit_reject_reason"),
        migrations.RemoveIndex(model_name="auditevent", name="audit_kind_reason"),
        migrations.RemoveIndex(model_name="auditevent", name="audit_exchange_reason"),
        migrations.AddIndex(
            model_name="auditevent",
            index=models.Index(
                fields=["reject_reason", "-seq"], condition=HAS_REASON, name="audit_reject_reason"
            ),
        ),
        migrations.AddIndex(
            model_name="auditevent",
            index=models.Index(
                fields=["kind", "reject_reason", "-seq"],
                condition=HAS_REASON,
                name="audit_kind_reason",
            ),
        ),
        migrations.AddIndex(
            model_name="auditevent",
            index=models.Index(
                fields=["exchange_id", "reject_reason", "-seq"],
                condition=HAS_REASON,
                name="audit_exchange_reason",
            ),
        ),
    ]
