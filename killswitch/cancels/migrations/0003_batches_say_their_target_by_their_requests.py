from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("cancels", "0002_requests_by_status"),
    ]

    operations = [
        migrations.RemoveField(
            model_name="batch",
            name="target",
        ),
    ]
