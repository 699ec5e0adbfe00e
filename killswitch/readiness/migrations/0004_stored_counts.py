from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models import Max


def start_at_the_newest_event(apps: Apps, _: BaseDatabaseSchemaEditor) -> None:
    """Leave out what was recorded before: a counter may start at any event, and the log is long."""
    newest = apps.get_model("audit", "AuditEvent").objects.aggregate(seq=Max("seq"))["seq"]
    if newest is not None:
        apps.get_model("readiness", "StoredCounts").objects.create(id=1, seq=newest)


class Migration(migrations.Migration):
    dependencies = [
        ("audit", "0008_indexes_of_rejects"),
        ("readiness", "0003_ems_reach"),
    ]

    operations = [
        migrations.CreateModel(
            name="StoredCounts",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("seq", models.BigIntegerField()),
                ("numbers", models.JSONField(default=dict)),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("id", 1)), name="there_is_one_row_of_counts"
                    )
                ],
            },
        ),
        migrations.RunPython(start_at_the_newest_event, migrations.RunPython.noop),
    ]
