from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("cancels", "0010_find_requests"),
        ("exchanges", "0008_names_of_groups"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="cancelrequest",
            index=models.Index(fields=["reject_reason", "-id"], name="requests_by_reject_reason"),
        ),
    ]
