from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("readiness", "0002_heartbeats_move_to_the_ground_floor"),
    ]

    operations = [
        migrations.CreateModel(
            name="EmsReach",
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
                ("pid", models.BigIntegerField()),
                ("problem", models.CharField(blank=True, max_length=500)),
                ("warning", models.CharField(blank=True, max_length=500)),
                ("milliseconds", models.FloatField()),
                ("fingerprint", models.CharField(max_length=16)),
                ("at", models.DateTimeField()),
            ],
            options={
                "ordering": ["kind", "host", "pid"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("kind", "host", "pid"), name="a_process_has_one_reach_of_the_ems"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("kind__in", ["WEB", "WORKER", "WATCHDOG", "OBSERVER"])),
                        name="a_reach_is_of_a_known_process",
                    ),
                ],
            },
        ),
    ]
