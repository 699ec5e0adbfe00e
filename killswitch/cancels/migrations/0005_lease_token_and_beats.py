from django.db import migrations, models

from killswitch.cancels.states import Status

STATUSES = [
    "REQUESTED",
    "SENDING",
    "VERIFYING",
    "CONFIRMED",
    "RESIDUAL",
    "UNVERIFIED",
    "REJECTED",
    "NOT_DELIVERED",
    "UNKNOWN",
]


class Migration(migrations.Migration):
    """The two columns of a lease have new names in Python, and statuses have no labels in the state.

    The database does not change.
    """

    dependencies = [("cancels", "0004_configured_exchange")]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.AlterField(
                    "CancelRequest",
                    "status",
                    models.CharField(
                        choices=[(status, status) for status in STATUSES],
                        default=Status.REQUESTED,
                        max_length=20,
                    ),
                ),
                migrations.AlterField(
                    "CancelRequest",
                    "holder",
                    models.CharField(blank=True, db_column="holder", max_length=100),
                ),
                migrations.RenameField("CancelRequest", "holder", "lease_token"),
                migrations.AlterField(
                    "CancelRequest",
                    "counter",
                    models.BigIntegerField(db_column="counter", default=0),
                ),
                migrations.RenameField("CancelRequest", "counter", "lease_beats"),
            ]
        )
    ]
