import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):
    """Only words of the admin pages change, no column."""

    dependencies = [("accounts", "0002_session_epoch")]

    operations = [
        migrations.AlterField(
            "User",
            "username",
            models.CharField(
                help_text="Letters from a to z, digits and @ . + - _ (not case-sensitive).",
                max_length=60,
                unique=True,
                validators=[
                    django.core.validators.RegexValidator(
                        message="Use only letters from a to z, digits and @ . + - _",
                        regex="\\A[a-z0-9][a-z0-9@.+_-]*\\Z",
                    )
                ],
            ),
        ),
    ]
