from django.db import migrations, models


class Migration(migrations.Migration):
    """The field has a new name; its column keeps the old one, so the database does not change."""

    dependencies = [("audit", "0004_repetitions_are_called_throttled_events")]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.RemoveConstraint("Review", "a_review_comes_after_what_it_is_about"),
                migrations.RemoveIndex("Review", "reviews_by_state"),
                migrations.RenameField("Review", "said_in", "review_seq"),
                migrations.AlterField(
                    "Review", "review_seq", models.BigIntegerField(db_column="said_in")
                ),
                migrations.AddIndex(
                    "Review",
                    models.Index(fields=["state", "-review_seq"], name="reviews_by_state"),
                ),
                migrations.AddConstraint(
                    "Review",
                    models.CheckConstraint(
                        condition=models.Q(("review_seq__gt", models.F("event_seq"))),
                        name="a_review_comes_after_what_it_is_about",
                    ),
                ),
            ]
        )
    ]
