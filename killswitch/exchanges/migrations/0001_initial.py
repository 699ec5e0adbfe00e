from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Exchange",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("revision", models.BigIntegerField(db_index=True, default=0, editable=False)),
                (
                    "exchange_id",
                    models.CharField(max_length=200, unique=True, verbose_name="exchange id"),
                ),
                ("name", models.CharField(blank=True, max_length=200)),
                ("enabled", models.BooleanField(default=True)),
                ("position", models.IntegerField(default=0, help_text="Lower numbers come first.")),
                (
                    "caveat",
                    models.CharField(
                        blank=True,
                        help_text="What a cancel will not reach; shown before the click.",
                        max_length=500,
                    ),
                ),
                ("open_orders", models.PositiveIntegerField(editable=False, null=True)),
                ("seen_at", models.DateTimeField(editable=False, null=True)),
            ],
            options={
                "ordering": ["position", "exchange_id"],
            },
        ),
        migrations.CreateModel(
            name="UncoveredExchange",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "exchange_id",
                    models.CharField(max_length=500, unique=True, verbose_name="exchange id"),
                ),
                ("open_orders", models.PositiveIntegerField()),
            ],
            options={
                "ordering": ["exchange_id"],
            },
        ),
        migrations.CreateModel(
            name="Observation",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("revision", models.BigIntegerField(db_index=True, default=0, editable=False)),
                ("seen_at", models.DateTimeField(null=True)),
                ("error", models.TextField(blank=True)),
                ("observer", models.CharField(blank=True, max_length=200)),
                ("counter", models.BigIntegerField(default=0)),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("id", 1)), name="there_is_one_observation"
                    )
                ],
            },
        ),
    ]
