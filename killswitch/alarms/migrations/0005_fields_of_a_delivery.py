import django.db.models.deletion
from django.db import migrations, models

UNIQUE = "each_place_is_told_once"
CHECK = "a_place_that_was_told_is_not_being_told"
PENDING = "tellings_pending"


class Migration(migrations.Migration):
    """The fields have new names; columns, constraints and the index of the table keep the old ones.

    So the database does not change, and software of the version before can still use it.
    """

    dependencies = [("alarms", "0004_tellings_are_called_deliveries")]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.RemoveConstraint("delivery", UNIQUE),
                migrations.RemoveConstraint("delivery", CHECK),
                migrations.RemoveIndex("delivery", PENDING),
                migrations.RenameField("delivery", "place", "channel"),
                migrations.RenameField("delivery", "tries", "attempts"),
                migrations.RenameField("delivery", "told_at", "delivered_at"),
                migrations.AlterField(
                    "delivery", "channel", models.CharField(db_column="place", max_length=200)
                ),
                migrations.AlterField(
                    "delivery",
                    "attempts",
                    models.PositiveIntegerField(db_column="tries", default=0),
                ),
                migrations.AlterField(
                    "delivery", "delivered_at", models.DateTimeField(db_column="told_at", null=True)
                ),
                migrations.AlterField(
                    "delivery",
                    "alarm",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="deliveries",
                        to="alarms.alarm",
                    ),
                ),
                migrations.AddConstraint(
                    "delivery", models.UniqueConstraint(fields=["alarm", "channel"], name=UNIQUE)
                ),
                migrations.AddConstraint(
                    "delivery",
                    models.CheckConstraint(
                        condition=models.Q(
                            ("delivered_at", None), ("sending", False), _connector="OR"
                        ),
                        name=CHECK,
                    ),
                ),
                migrations.AddIndex(
                    "delivery",
                    models.Index(
                        condition=models.Q(("delivered_at", None)), fields=["id"], name=PENDING
                    ),
                ),
                migrations.AlterField(
                    "alarm",
                    "kind",
                    models.CharField(
                        choices=[
                            ("OUTCOME", "Cancel not confirmed"),
                            ("STALLED", "Cancel stuck"),
                            ("PEOPLE", "Account or configuration change"),
                            ("EVIDENCE", "Audit log failed verification"),
                        ],
                        max_length=20,
                    ),
                ),
            ]
        )
    ]
