import django.db.models.functions.text
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("exchanges", "0007_groups_contacts_and_the_runbook")]

    operations = [
        migrations.AddConstraint(
            model_name="exchangegroup",
            constraint=models.UniqueConstraint(
                django.db.models.functions.text.Lower("name"),
                name="groups_differ_by_more_than_letter_case",
            ),
        ),
    ]
