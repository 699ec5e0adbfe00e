from django.db import migrations, models


class Migration(migrations.Migration):
    """The revision at which a request ended; null for those that ended earlier."""

    dependencies = [("cancels", "0005_lease_token_and_beats")]

    operations = [
        migrations.AddField(
            "CancelRequest", "finished_revision", models.BigIntegerField(null=True, editable=False)
        ),
    ]
