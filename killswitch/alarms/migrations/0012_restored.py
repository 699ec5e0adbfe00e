from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("alarms", "0011_readiness"),
    ]

    operations = [
        migrations.AlterField(
            model_name="alarm",
            name="kind",
            field=models.CharField(
                choices=[
                    ("OUTCOME", "Cancel not confirmed"),
                    ("STALLED", "Cancel stuck"),
                    ("REOPENED", "Orders open again after a confirmed cancel"),
                    ("HOLD_BLIND", "Hold blind"),
                    ("HOLD_TRADING", "Orders still open under Hold"),
                    ("HOLD_REMINDER", "Exchanges are held"),
                    ("BREAK_GLASS", "Cancel by break glass"),
                    ("PEOPLE", "Account or configuration change"),
                    ("EVIDENCE", "Audit log failed verification"),
                    ("RESTORED", "Backup restored"),
                    ("READINESS", "Kill switch not ready"),
                ],
                max_length=20,
            ),
        ),
    ]
