from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("alarms", "0001_initial"),
    ]

    operations = [
        migrations.AlterField(
            model_name="alarm",
            name="kind",
            field=models.CharField(
                choices=[
                    ("OUTCOME", "A kill did not end confirmed"),
                    ("STALLED", "A kill makes no progress"),
                    ("PEOPLE", "A role or a password was given"),
                    ("EVIDENCE", "The audit log does not verify"),
                ],
                max_length=20,
            ),
        ),
    ]
