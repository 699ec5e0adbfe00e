from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("exchanges", "0006_order_lists"),
    ]

    operations = [
        migrations.AddField(
            model_name="exchange",
            name="contact",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="The venue's desk and telephone number. Shown with a cancel that failed there.",
                max_length=300,
                verbose_name="whom to call",
            ),
        ),
        migrations.CreateModel(
            name="ExchangeGroup",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("revision", models.BigIntegerField(db_index=True, default=0, editable=False)),
                ("name", models.CharField(max_length=100, unique=True)),
                ("position", models.IntegerField(default=0, help_text="Lower numbers come first.")),
                (
                    "exchanges",
                    models.ManyToManyField(
                        blank=True, related_name="groups", to="exchanges.exchange"
                    ),
                ),
            ],
            options={
                "ordering": ["position", "name"],
            },
        ),
        migrations.CreateModel(
            name="Runbook",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("revision", models.BigIntegerField(db_index=True, default=0, editable=False)),
                ("text", models.TextField(blank=True, max_length=5000)),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("id", 1)), name="there_is_one_runbook"
                    )
                ],
            },
        ),
    ]
