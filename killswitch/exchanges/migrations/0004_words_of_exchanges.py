from django.db import migrations, models


class Migration(migrations.Migration):
    """Only words of the admin pages change, no column."""

    dependencies = [("exchanges", "0003_plainer_words")]

    operations = [
        migrations.AlterField(
            "Exchange",
            "caveat",
            models.CharField(
                "limitations",
                blank=True,
                help_text=(
                    "What a cancel does not do on this exchange. Shown before a cancel is"
                    " confirmed."
                ),
                max_length=500,
            ),
        ),
        migrations.AlterField(
            "Exchange",
            "exchange_id",
            models.CharField("exchange ID", max_length=200, unique=True),
        ),
        migrations.AlterField(
            "UncoveredExchange",
            "exchange_id",
            models.CharField("exchange ID", max_length=500, unique=True),
        ),
    ]
