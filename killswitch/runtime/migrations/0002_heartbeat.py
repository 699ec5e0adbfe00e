from django.db import migrations, models


class Migration(migrations.Migration):
    """Take the model over from `readiness`, whose 0001 has made its table, and keep that table."""

    dependencies = [("live", "0001_initial"), ("readiness", "0001_initial")]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.CreateModel(
                    name="Heartbeat",
                    fields=[
                        (
                            "id",
                            models.BigAutoField(
                                auto_created=True,
                                primary_key=True,
                                serialize=False,
                                verbose_name="ID",
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
                        "db_table": "readiness_heart",
                        "ordering": ["kind", "host"],
                        "constraints": [
                            models.UniqueConstraint(
                                fields=("kind", "host"),
                                name="a_host_has_one_heart_for_each_kind_of_process",
                            ),
                            models.CheckConstraint(
                                condition=models.Q(
                                    ("kind__in", ["WEB", "WORKER", "WATCHDOG", "OBSERVER"])
                                ),
                                name="a_heart_is_of_a_known_process",
                            ),
                        ],
                    },
                ),
            ]
        )
    ]
