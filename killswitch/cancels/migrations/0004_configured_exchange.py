import django.db.models.deletion
from django.db import migrations, models

REFERENCE = {
    "on_delete": django.db.models.deletion.PROTECT,
    "related_name": "requests",
    "to": "exchanges.exchange",
}


class Migration(migrations.Migration):
    """A request's reference to its exchange has a new name; its column keeps the old one."""

    dependencies = [("cancels", "0003_batches_say_their_target_by_their_requests")]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.RemoveIndex("CancelRequest", "requests_of_an_exchange"),
                migrations.RemoveConstraint("CancelRequest", "a_press_asks_once_for_each_exchange"),
                migrations.AlterField(
                    "CancelRequest", "entry", models.ForeignKey(db_column="entry_id", **REFERENCE)
                ),
                migrations.RenameField("CancelRequest", "entry", "configured_exchange"),
                migrations.AddIndex(
                    "CancelRequest",
                    models.Index(
                        fields=["configured_exchange", "-id"], name="requests_of_an_exchange"
                    ),
                ),
                migrations.AddConstraint(
                    "CancelRequest",
                    models.UniqueConstraint(
                        fields=("batch", "configured_exchange"),
                        name="a_press_asks_once_for_each_exchange",
                    ),
                ),
            ]
        )
    ]
