import uuid

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import killswitch.cancels.states


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("exchanges", "0001_initial"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Batch",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("uuid", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ("key", models.CharField(max_length=64, unique=True)),
                ("target", models.TextField()),
                ("by_name", models.CharField(max_length=200)),
                ("by_role", models.CharField(max_length=30)),
                ("asked_at", models.DateTimeField()),
                ("reason", models.CharField(blank=True, max_length=500)),
                ("reason_altered", models.BooleanField(default=False)),
                ("completed_reason", models.CharField(blank=True, max_length=500)),
                ("completed_at", models.DateTimeField(null=True)),
                (
                    "origin",
                    models.CharField(
                        choices=[("BROWSER", "Browser"), ("COMMAND_LINE", "Command line")],
                        max_length=20,
                    ),
                ),
                ("address", models.CharField(blank=True, max_length=100)),
                ("user_agent", models.CharField(blank=True, max_length=500)),
                ("gesture", models.CharField(blank=True, max_length=100)),
                ("everywhere", models.BooleanField(default=False)),
                (
                    "by",
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
            name="CancelRequest",
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
                    "status",
                    models.CharField(
                        choices=[
                            ("REQUESTED", "Recorded, not sent yet"),
                            ("SENDING", "Asking the EMS"),
                            ("VERIFYING", "Reading the open orders"),
                            ("CONFIRMED", "Confirmed, none open"),
                            ("RESIDUAL", "Orders still open"),
                            ("UNVERIFIED", "Acknowledged, not verified"),
                            ("REJECTED", "Rejected"),
                            ("NOT_DELIVERED", "Not delivered"),
                            ("UNKNOWN", "Unknown"),
                        ],
                        default=killswitch.cancels.states.Status["REQUESTED"],
                        max_length=20,
                    ),
                ),
                ("reject_reason", models.CharField(blank=True, max_length=200)),
                ("message", models.TextField(blank=True)),
                ("rejected_message", models.TextField(blank=True)),
                ("conclusion", models.TextField(blank=True)),
                ("open_before", models.PositiveIntegerField(null=True)),
                ("open_before_seen_at", models.DateTimeField(null=True)),
                ("open_after", models.PositiveIntegerField(null=True)),
                ("open_after_read_at", models.DateTimeField(null=True)),
                ("reads", models.PositiveIntegerField(default=0)),
                ("attempt_count", models.PositiveIntegerField(default=0)),
                ("next_attempt_at", models.DateTimeField(null=True)),
                ("holder", models.CharField(blank=True, max_length=100)),
                ("counter", models.BigIntegerField(default=0)),
                ("first_claimed_at", models.DateTimeField(null=True)),
                ("finished_at", models.DateTimeField(null=True)),
                (
                    "batch",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="requests",
                        to="cancels.batch",
                    ),
                ),
                (
                    "entry",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="requests",
                        to="exchanges.exchange",
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
            },
        ),
        migrations.CreateModel(
            name="Attempt",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("number", models.PositiveIntegerField()),
                ("started_at", models.DateTimeField(null=True)),
                ("finished_at", models.DateTimeField()),
                ("duration_us", models.BigIntegerField(null=True)),
                ("http_status", models.PositiveIntegerField(null=True)),
                (
                    "outcome",
                    models.CharField(
                        choices=[
                            ("ACKNOWLEDGED", "ACKNOWLEDGED"),
                            ("REJECTED", "REJECTED"),
                            ("UNKNOWN", "UNKNOWN"),
                            ("NOT_DELIVERED", "NOT_DELIVERED"),
                        ],
                        max_length=20,
                    ),
                ),
                ("may_have_been_carried_out", models.BooleanField()),
                ("reject_reason", models.CharField(blank=True, max_length=200)),
                ("message", models.TextField(blank=True)),
                ("rejected_message", models.TextField(blank=True)),
                ("trace_id", models.CharField(blank=True, max_length=200)),
                ("body", models.BinaryField(blank=True)),
                ("body_cut", models.BooleanField(default=False)),
                ("transport_error", models.TextField(blank=True)),
                ("holder", models.CharField(max_length=100)),
                ("by_dead_holder", models.BooleanField(default=False)),
                (
                    "request",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="attempts",
                        to="cancels.cancelrequest",
                    ),
                ),
            ],
            options={
                "ordering": ["number"],
            },
        ),
        migrations.CreateModel(
            name="ResidualOrder",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("symbol", models.CharField(blank=True, max_length=200)),
                ("side", models.CharField(blank=True, max_length=200)),
                ("price", models.CharField(blank=True, max_length=200)),
                ("amount_order", models.CharField(blank=True, max_length=200)),
                ("amount_open", models.CharField(blank=True, max_length=200)),
                ("amount_filled", models.CharField(blank=True, max_length=200)),
                ("status", models.CharField(blank=True, max_length=200)),
                ("client_order_id", models.CharField(blank=True, max_length=200)),
                ("exchange_order_id", models.CharField(blank=True, max_length=200)),
                (
                    "request",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="residual_orders",
                        to="cancels.cancelrequest",
                    ),
                ),
            ],
            options={
                "ordering": ["id"],
            },
        ),
        migrations.AddIndex(
            model_name="cancelrequest",
            index=models.Index(
                condition=models.Q(
                    (
                        "status__in",
                        [
                            "CONFIRMED",
                            "NOT_DELIVERED",
                            "REJECTED",
                            "RESIDUAL",
                            "UNKNOWN",
                            "UNVERIFIED",
                        ],
                    ),
                    _negated=True,
                ),
                fields=["id"],
                name="requests_in_flight",
            ),
        ),
        migrations.AddIndex(
            model_name="cancelrequest",
            index=models.Index(fields=["entry", "-id"], name="requests_of_an_exchange"),
        ),
        migrations.AddConstraint(
            model_name="cancelrequest",
            constraint=models.UniqueConstraint(
                fields=("batch", "entry"), name="a_press_asks_once_for_each_exchange"
            ),
        ),
        migrations.AddConstraint(
            model_name="cancelrequest",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "status__in",
                        [
                            "REQUESTED",
                            "SENDING",
                            "VERIFYING",
                            "CONFIRMED",
                            "RESIDUAL",
                            "UNVERIFIED",
                            "REJECTED",
                            "NOT_DELIVERED",
                            "UNKNOWN",
                        ],
                    )
                ),
                name="a_request_has_a_known_status",
            ),
        ),
        migrations.AddConstraint(
            model_name="cancelrequest",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("finished_at__isnull", False),
                        (
                            "status__in",
                            [
                                "CONFIRMED",
                                "NOT_DELIVERED",
                                "REJECTED",
                                "RESIDUAL",
                                "UNKNOWN",
                                "UNVERIFIED",
                            ],
                        ),
                    ),
                    models.Q(
                        models.Q(
                            (
                                "status__in",
                                [
                                    "CONFIRMED",
                                    "NOT_DELIVERED",
                                    "REJECTED",
                                    "RESIDUAL",
                                    "UNKNOWN",
                                    "UNVERIFIED",
                                ],
                            ),
                            _negated=True,
                        ),
                        ("finished_at", None),
                    ),
                    _connector="OR",
                ),
                name="a_request_is_finished_exactly_when_its_status_is_final",
            ),
        ),
        migrations.AddConstraint(
            model_name="cancelrequest",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("status", killswitch.cancels.states.Status["CONFIRMED"]), _negated=True
                    ),
                    models.Q(("open_after", 0), ("open_after_read_at__isnull", False)),
                    _connector="OR",
                ),
                name="only_an_empty_list_of_open_orders_confirms",
            ),
        ),
        migrations.AddConstraint(
            model_name="cancelrequest",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("status", killswitch.cancels.states.Status["RESIDUAL"]), _negated=True
                    ),
                    ("open_after__gt", 0),
                    _connector="OR",
                ),
                name="residual_means_that_orders_were_listed",
            ),
        ),
        migrations.AddConstraint(
            model_name="cancelrequest",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("status", killswitch.cancels.states.Status["REQUESTED"]),
                    ("first_claimed_at__isnull", False),
                    _connector="OR",
                ),
                name="nothing_is_sent_before_it_is_claimed",
            ),
        ),
        migrations.AddConstraint(
            model_name="attempt",
            constraint=models.UniqueConstraint(
                fields=("request", "number"), name="the_attempts_of_a_request_are_numbered"
            ),
        ),
    ]
