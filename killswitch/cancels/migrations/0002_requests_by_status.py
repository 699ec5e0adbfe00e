from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("cancels", "0001_initial"),
        ("exchanges", "0001_initial"),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name="cancelrequest",
            name="requests_in_flight",
        ),
        migrations.AddIndex(
            model_name="cancelrequest",
            index=models.Index(fields=["status", "id"], name="requests_by_status"),
        ),
    ]
