from django.db import migrations, models


class Migration(migrations.Migration):
    """The fields have new names; their columns keep the old ones: the database does not change."""

    dependencies = [("exchanges", "0001_initial")]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.RenameField("Observation", "observer", "lease_token"),
                migrations.RenameField("Observation", "counter", "lease_beats"),
                migrations.AlterField(
                    "Observation",
                    "lease_token",
                    models.CharField(blank=True, db_column="observer", max_length=200),
                ),
                migrations.AlterField(
                    "Observation",
                    "lease_beats",
                    models.BigIntegerField(db_column="counter", default=0),
                ),
            ]
        )
    ]
