from django.db import migrations


class Migration(migrations.Migration):
    """The model has a new name; its table keeps the old one, so the database does not change."""

    dependencies = [("alarms", "0003_tellings_without_the_last_try")]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.RenameModel("Telling", "Delivery"),
                migrations.AlterModelTable("Delivery", "alarms_telling"),
            ]
        )
    ]
