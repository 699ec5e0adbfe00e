import uuid

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("cancels", "0008_hold_and_second_looks"),
        ("exchanges", "0006_order_lists"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Enforcement",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("lease_token", models.CharField(blank=True, max_length=200)),
                ("lease_beats", models.BigIntegerField(default=0)),
                ("reminded_at", models.DateTimeField(null=True)),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("id", 1)), name="holds_are_enforced_once"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Hold",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("revision", models.BigIntegerField(db_index=True, default=0, editable=False)),
                ("uuid", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ("exchange_id", models.CharField(max_length=200)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("ACTIVE", "Held"),
                            ("RELEASE_REQUESTED", "Held, release requested"),
                            ("RELEASED", "Released"),
                        ],
                        default="ACTIVE",
                        max_length=20,
                    ),
                ),
                (
                    "origin",
                    models.CharField(
                        choices=[
                            ("BROWSER", "Browser"),
                            ("COMMAND_LINE", "Command line"),
                            ("HOLD", "Hold"),
                        ],
                        max_length=20,
                    ),
                ),
                ("started_at", models.DateTimeField()),
                ("started_by", models.CharField(max_length=200)),
                ("started_role", models.CharField(blank=True, max_length=30)),
                ("reason", models.CharField(blank=True, max_length=500)),
                ("release_requested_at", models.DateTimeField(null=True)),
                ("release_requested_by", models.CharField(blank=True, max_length=200)),
                ("release_requested_role", models.CharField(blank=True, max_length=30)),
                ("release_reason", models.CharField(blank=True, max_length=500)),
                ("released_at", models.DateTimeField(null=True)),
                ("released_by", models.CharField(blank=True, max_length=200)),
                ("released_role", models.CharField(blank=True, max_length=30)),
                ("last_read_at", models.DateTimeField(null=True)),
                ("read_error", models.CharField(blank=True, max_length=500)),
                ("blind_since", models.DateTimeField(null=True)),
                ("paused_until", models.DateTimeField(null=True)),
                ("episode_count", models.PositiveIntegerField(default=0)),
                ("orders_seen", models.PositiveIntegerField(default=0)),
                ("orders_cancelled", models.PositiveIntegerField(default=0)),
                ("last_order_at", models.DateTimeField(null=True)),
                ("orders_since", models.DateTimeField(null=True)),
                (
                    "batch",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="holds",
                        to="cancels.batch",
                    ),
                ),
                (
                    "configured_exchange",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="holds",
                        to="exchanges.exchange",
                    ),
                ),
                (
                    "release_requested_user",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
            },
        ),
        migrations.CreateModel(
            name="Episode",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("number", models.PositiveIntegerField()),
                ("began_blind", models.BooleanField(default=False)),
                ("orders_seen", models.PositiveIntegerField(default=0)),
                ("orders_carried", models.PositiveIntegerField(default=0)),
                ("orders_cancelled", models.PositiveIntegerField(default=0)),
                ("symbols", models.JSONField(default=list)),
                ("longest_life_ms", models.PositiveIntegerField(default=0)),
                ("first_order_at", models.DateTimeField(null=True)),
                ("last_order_at", models.DateTimeField(null=True)),
                ("oldest_open_at", models.DateTimeField(null=True)),
                (
                    "request",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="episode",
                        to="cancels.cancelrequest",
                    ),
                ),
                (
                    "hold",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="episodes",
                        to="holds.hold",
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
            },
        ),
        migrations.AddConstraint(
            model_name="hold",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state", "RELEASED"), _negated=True),
                fields=("configured_exchange",),
                name="an_exchange_has_one_active_hold",
            ),
        ),
        migrations.AddConstraint(
            model_name="hold",
            constraint=models.CheckConstraint(
                condition=models.Q(("state__in", ["ACTIVE", "RELEASE_REQUESTED", "RELEASED"])),
                name="a_hold_has_a_known_state",
            ),
        ),
        migrations.AddConstraint(
            model_name="hold",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("released_at__isnull", False), ("state", "RELEASED")),
                    models.Q(models.Q(("state", "RELEASED"), _negated=True), ("released_at", None)),
                    _connector="OR",
                ),
                name="a_hold_has_ended_exactly_when_it_is_released",
            ),
        ),
        migrations.AddConstraint(
            model_name="hold",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("release_requested_at", None), ("state", "ACTIVE")),
                    models.Q(
                        models.Q(("state", "ACTIVE"), _negated=True),
                        ("release_requested_at__isnull", False),
                        models.Q(("release_requested_by", ""), _negated=True),
                    ),
                    _connector="OR",
                ),
                name="a_release_is_requested_before_it_happens",
            ),
        ),
        migrations.AddConstraint(
            model_name="episode",
            constraint=models.UniqueConstraint(
                fields=("hold", "number"), name="the_episodes_of_a_hold_are_numbered"
            ),
        ),
    ]
