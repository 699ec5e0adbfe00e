import django.db.models.functions.text
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("exchanges", "0010_telephone_cards"),
    ]

    operations = [
        migrations.AlterConstraint(
            model_name="exchangegroup",
            name="groups_differ_by_more_than_letter_case",
            constraint=models.UniqueConstraint(
                django.db.models.functions.text.Lower("name"),
                name="groups_differ_by_more_than_letter_case",
                violation_error_message="There is already a group with this name. If you have just added it, it was saved.",
            ),
        ),
    ]
