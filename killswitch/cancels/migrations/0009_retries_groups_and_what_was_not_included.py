import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("cancels", "0008_hold_and_second_looks"),
    ]

    operations = [
        migrations.AddField(
            model_name="batch",
            name="group_name",
            field=models.CharField(blank=True, db_default="", default="", max_length=100),
        ),
        migrations.AddField(
            model_name="batch",
            name="not_included",
            field=models.JSONField(null=True),
        ),
        migrations.AddField(
            model_name="batch",
            name="retry_of",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="retries",
                to="cancels.batch",
            ),
        ),
    ]
