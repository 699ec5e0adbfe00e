from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("cancels", "0009_retries_groups_and_what_was_not_included"),
        ("exchanges", "0007_groups_contacts_and_the_runbook"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddIndex(
            model_name="batch",
            index=models.Index(fields=["asked_at"], name="batches_by_time"),
        ),
        migrations.AddIndex(
            model_name="batch",
            index=models.Index(fields=["origin", "by_name", "-id"], name="batches_by_person"),
        ),
        migrations.AddIndex(
            model_name="cancelrequest",
            index=models.Index(
                condition=models.Q(("reopened_at__isnull", False)),
                fields=["id"],
                name="requests_reopened",
            ),
        ),
        migrations.AddIndex(
            model_name="residualorder",
            index=models.Index(fields=["client_order_id"], name="orders_by_client_id"),
        ),
        migrations.AddIndex(
            model_name="residualorder",
            index=models.Index(fields=["exchange_order_id"], name="orders_by_exchange_id"),
        ),
    ]
