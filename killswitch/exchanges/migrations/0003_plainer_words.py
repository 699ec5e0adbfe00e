from django.db import migrations, models


class Migration(migrations.Migration):
    """Only words of the admin pages change, no column."""

    dependencies = [("exchanges", "0002_observation_lease")]

    operations = [
        migrations.AlterField(
            "Exchange",
            "caveat",
            models.CharField(
                blank=True,
                help_text="What a cancel does not cover. Shown before the click.",
                max_length=500,
            ),
        ),
    ]
