import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    """The open orders of each exchange, and their counts by the minute."""

    dependencies = [
        ("exchanges", "0005_first_listed_at"),
    ]

    operations = [
        migrations.CreateModel(
            name="OpenOrderList",
            fields=[
                ("revision", models.BigIntegerField(db_index=True, default=0, editable=False)),
                (
                    "configured_exchange",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="order_list",
                        serialize=False,
                        to="exchanges.exchange",
                    ),
                ),
                ("orders", models.JSONField(default=list)),
                ("total", models.PositiveIntegerField(default=0)),
                ("unnamed", models.PositiveIntegerField(default=0)),
                ("read_at", models.DateTimeField()),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.AddField(
            model_name="exchange",
            name="orders_read_at",
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.CreateModel(
            name="OpenOrderSample",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("minute", models.DateTimeField(db_index=True)),
                ("lowest", models.PositiveIntegerField()),
                ("highest", models.PositiveIntegerField()),
                (
                    "configured_exchange",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="samples",
                        to="exchanges.exchange",
                    ),
                ),
            ],
            options={
                "ordering": ["minute"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("configured_exchange", "minute"),
                        name="an_exchange_has_one_sample_a_minute",
                    )
                ],
            },
        ),
    ]
