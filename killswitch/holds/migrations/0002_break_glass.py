from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("holds", "0001_initial"),
    ]

    operations = [
        migrations.AlterField(
            model_name="hold",
            name="origin",
            field=models.CharField(
                choices=[
                    ("BROWSER", "Browser"),
                    ("COMMAND_LINE", "Command line"),
                    ("HOLD", "Hold"),
                    ("BREAK_GLASS", "Break glass"),
                ],
                max_length=20,
            ),
        ),
    ]
