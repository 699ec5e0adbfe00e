from django.db import migrations, models


class Migration(migrations.Migration):
    """The field has a new name; its column keeps the old one, so the database does not change."""

    dependencies = [("accounts", "0001_initial")]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.RenameField("User", "epoch", "session_epoch"),
                migrations.AlterField(
                    "User",
                    "session_epoch",
                    models.PositiveIntegerField(db_column="epoch", default=0, editable=False),
                ),
            ]
        )
    ]
