from django.db import migrations


class Migration(migrations.Migration):
    """The model has a new name; its table keeps the old one, so the database does not change."""

    dependencies = [("audit", "0003_review")]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.RenameModel("Repetition", "ThrottledEvent"),
                migrations.AlterModelTable("ThrottledEvent", "audit_repetition"),
            ]
        )
    ]
