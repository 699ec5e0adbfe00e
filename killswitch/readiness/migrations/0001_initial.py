from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Probe",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=50, unique=True)),
                ("ok", models.BooleanField()),
                ("detail", models.TextField(blank=True)),
                ("milliseconds", models.FloatField(null=True)),
                ("at", models.DateTimeField()),
            ],
            options={
                "ordering": ["name"],
            },
        ),
        migrations.CreateModel(
            name="Canary",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("nonce", models.CharField(max_length=32)),
                ("sent_at", models.DateTimeField(null=True)),
                ("published", models.BigIntegerField(default=0)),
                ("answered", models.BigIntegerField(default=0)),
                ("answered_at", models.DateTimeField(null=True)),
                ("milliseconds", models.FloatField(null=True)),
                ("error", models.CharField(blank=True, max_length=500)),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("id", 1)), name="there_is_one_canary"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Heart",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("WEB", "Web"),
                            ("WORKER", "Worker"),
                            ("WATCHDOG", "Watchdog"),
                            ("OBSERVER", "Observer"),
                        ],
                        max_length=20,
                    ),
                ),
                ("host", models.CharField(max_length=200)),
                ("beats", models.BigIntegerField(default=0)),
                ("beat_at", models.DateTimeField()),
            ],
            options={
                "ordering": ["kind", "host"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("kind", "host"),
                        name="a_host_has_one_heart_for_each_kind_of_process",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("kind__in", ["WEB", "WORKER", "WATCHDOG", "OBSERVER"])),
                        name="a_heart_is_of_a_known_process",
                    ),
                ],
            },
        ),
    ]
