from typing import Any

from django.db import migrations, models


def describe_pairs(_apps: Any, schema_editor: Any) -> None:
    """Let PostgreSQL know which event types have which statuses.

    It would take them for independent, expect thousands of events of a pair that has none, and read
    the log backwards to find them.
    """
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(
            "CREATE STATISTICS IF NOT EXISTS audit_kinds_and_statuses (mcv) ON kind, status"
            " FROM audit_auditevent"
        )


def forget_pairs(_apps: Any, schema_editor: Any) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("DROP STATISTICS IF EXISTS audit_kinds_and_statuses")


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
        migrations.RunPython(describe_pairs, forget_pairs),
    ]
