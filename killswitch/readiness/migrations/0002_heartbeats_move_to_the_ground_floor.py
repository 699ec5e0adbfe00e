from django.db import migrations


class Migration(migrations.Migration):
    """`live` 0002 has taken the model over, with its table: the database does not change."""

    dependencies = [("readiness", "0001_initial"), ("live", "0002_heartbeat")]

    operations = [
        migrations.SeparateDatabaseAndState(state_operations=[migrations.DeleteModel("Heart")])
    ]
