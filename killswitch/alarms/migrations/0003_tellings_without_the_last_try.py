from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("alarms", "0002_evidence"),
    ]

    operations = [
        migrations.RemoveField(
            model_name="telling",
            name="last_tried_at",
        ),
    ]
