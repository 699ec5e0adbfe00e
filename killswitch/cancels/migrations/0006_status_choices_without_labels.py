"""The choices of a status are its values alone: words on a screen are no part of the schema."""

from django.db import migrations, models

import killswitch.cancels.states


class Migration(migrations.Migration):
    dependencies = [("cancels", "0005_lease_token_and_beats")]

    operations = [
        migrations.AlterField(
            model_name="cancelrequest",
            name="status",
            field=models.CharField(
                choices=[
                    ("REQUESTED", "REQUESTED"),
                    ("SENDING", "SENDING"),
                    ("VERIFYING", "VERIFYING"),
                    ("CONFIRMED", "CONFIRMED"),
                    ("RESIDUAL", "RESIDUAL"),
                    ("UNVERIFIED", "UNVERIFIED"),
                    ("REJECTED", "REJECTED"),
                    ("NOT_DELIVERED", "NOT_DELIVERED"),
                    ("UNKNOWN", "UNKNOWN"),
                ],
                default=killswitch.cancels.states.Status["REQUESTED"],
                max_length=20,
            ),
        ),
    ]
