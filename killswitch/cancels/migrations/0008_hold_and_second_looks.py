import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("cancels", "0007_finished_revision"),
    ]

    operations = [
        migrations.AddField(
            model_name="batch",
            name="hold",
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AddField(
            model_name="cancelrequest",
            name="reopened_at",
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name="cancelrequest",
            name="reopened_orders",
            field=models.PositiveIntegerField(editable=False, null=True),
        ),
        migrations.AlterField(
            model_name="batch",
            name="origin",
            field=models.CharField(
                choices=[
                    ("BROWSER", "Browser"),
                    ("COMMAND_LINE", "Command line"),
                    ("HOLD", "Hold"),
                ],
                max_length=20,
            ),
        ),
        migrations.CreateModel(
            name="SecondLook",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("after_s", models.PositiveIntegerField()),
                ("read_at", models.DateTimeField()),
                ("open_orders", models.PositiveIntegerField(null=True)),
                ("error", models.CharField(blank=True, max_length=500)),
                (
                    "request",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="second_looks",
                        to="cancels.cancelrequest",
                    ),
                ),
            ],
            options={
                "ordering": ["after_s"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("request", "after_s"),
                        name="a_request_is_looked_at_once_for_each_delay",
                    )
                ],
            },
        ),
    ]
