import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Alarm",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("revision", models.BigIntegerField(db_index=True, default=0, editable=False)),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("OUTCOME", "A kill did not end confirmed"),
                            ("STALLED", "A kill makes no progress"),
                            ("PEOPLE", "A role or a password was given"),
                        ],
                        max_length=20,
                    ),
                ),
                ("subject", models.CharField(max_length=200)),
                ("request_id", models.CharField(blank=True, db_index=True, max_length=36)),
                ("exchange_id", models.CharField(blank=True, max_length=200)),
                ("title", models.CharField(max_length=300)),
                ("detail", models.TextField(blank=True)),
                ("raised_at", models.DateTimeField()),
                ("acknowledged_at", models.DateTimeField(blank=True, null=True)),
                ("acknowledged_by", models.CharField(blank=True, max_length=200)),
            ],
            options={
                "ordering": ["-id"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("kind", "subject"), name="an_alarm_is_raised_once_for_its_subject"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("acknowledged_at", None), ("acknowledged_by", "")),
                            models.Q(
                                ("acknowledged_at__isnull", False),
                                models.Q(("acknowledged_by", ""), _negated=True),
                            ),
                            _connector="OR",
                        ),
                        name="an_acknowledged_alarm_says_by_whom",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Telling",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("place", models.CharField(max_length=200)),
                ("tries", models.PositiveIntegerField(default=0)),
                ("sending", models.BooleanField(default=False)),
                ("last_tried_at", models.DateTimeField(null=True)),
                ("told_at", models.DateTimeField(null=True)),
                ("error", models.CharField(blank=True, max_length=500)),
                (
                    "alarm",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="tellings",
                        to="alarms.alarm",
                    ),
                ),
            ],
            options={
                "ordering": ["id"],
                "indexes": [
                    models.Index(
                        condition=models.Q(("told_at", None)),
                        fields=["id"],
                        name="tellings_pending",
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("alarm", "place"), name="each_place_is_told_once"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("told_at", None), ("sending", False), _connector="OR"),
                        name="a_place_that_was_told_is_not_being_told",
                    ),
                ],
            },
        ),
    ]
