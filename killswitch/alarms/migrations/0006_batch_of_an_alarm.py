from django.db import migrations, models


class Migration(migrations.Migration):
    """The defaults are in the database too: software of the version before can still insert."""

    dependencies = [
        ("alarms", "0005_fields_of_a_delivery"),
    ]

    operations = [
        migrations.AddField(
            model_name="alarm",
            name="batch_id",
            field=models.CharField(
                blank=True, db_default="", db_index=True, default="", max_length=36
            ),
        ),
        migrations.AddField(
            model_name="alarm",
            name="batch_size",
            field=models.PositiveIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name="alarm",
            name="summary",
            field=models.CharField(blank=True, db_default="", default="", max_length=300),
        ),
    ]
