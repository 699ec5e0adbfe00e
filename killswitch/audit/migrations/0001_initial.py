from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="AuditEvent",
            fields=[
                ("seq", models.BigIntegerField(primary_key=True, serialize=False)),
                ("at", models.DateTimeField()),
                ("format", models.PositiveSmallIntegerField()),
                ("software", models.CharField(max_length=50)),
                ("kind", models.CharField(max_length=30)),
                ("actor", models.CharField(max_length=200)),
                ("role", models.CharField(blank=True, max_length=30)),
                ("exchange_id", models.CharField(blank=True, max_length=200)),
                ("request_id", models.CharField(blank=True, max_length=36)),
                ("status", models.CharField(blank=True, max_length=20)),
                ("reject_reason", models.CharField(blank=True, max_length=200)),
                ("data", models.TextField()),
                ("previous", models.CharField(max_length=64)),
                ("hash", models.CharField(max_length=64)),
            ],
            options={
                "ordering": ["seq"],
                "indexes": [
                    models.Index(fields=["at", "seq"], name="audit_at"),
                    models.Index(fields=["kind", "-seq"], name="audit_kind"),
                    models.Index(fields=["actor", "-seq"], name="audit_actor"),
                    models.Index(fields=["exchange_id", "-seq"], name="audit_exchange"),
                    models.Index(fields=["status", "-seq"], name="audit_status"),
                    models.Index(fields=["reject_reason", "-seq"], name="audit_reject_reason"),
                    models.Index(fields=["request_id", "-seq"], name="audit_request"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("hash",), name="no_two_events_have_the_same_hash"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("seq__gte", 1)), name="events_count_from_one"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Repetition",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("kind", models.CharField(max_length=30)),
                ("subject", models.CharField(max_length=300)),
                ("since", models.DateTimeField()),
                ("count", models.PositiveIntegerField(default=1)),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("kind", "subject"), name="a_repetition_is_counted_in_one_row"
                    )
                ],
            },
        ),
    ]
