from django.db import migrations, models


class Migration(migrations.Migration):
    """The revision at which a request ended; null for those that ended earlier."""

    dependencies = [("cancels", "0006_exchanges_listed_before")]

    operations = [
        migrations.AddField(
            "CancelRequest", "finished_revision", models.BigIntegerField(null=True, editable=False)
        ),
    ]
