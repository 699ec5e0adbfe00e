from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("audit", "0002_guards_and_verification"),
    ]

    operations = [
        migrations.CreateModel(
            name="Review",
            fields=[
                ("event_seq", models.BigIntegerField(primary_key=True, serialize=False)),
                ("state", models.CharField(max_length=30)),
                ("note", models.CharField(blank=True, max_length=1000)),
                ("by", models.CharField(max_length=200)),
                ("at", models.DateTimeField()),
                ("said_in", models.BigIntegerField()),
            ],
            options={
                "ordering": ["event_seq"],
                "indexes": [models.Index(fields=["state", "-said_in"], name="reviews_by_state")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("said_in__gt", models.F("event_seq"))),
                        name="a_review_comes_after_what_it_is_about",
                    )
                ],
            },
        ),
    ]
