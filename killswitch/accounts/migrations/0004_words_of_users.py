import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):
    """Only words of the admin pages change, no column."""

    dependencies = [("accounts", "0003_plainer_words")]

    operations = [
        migrations.AlterModelOptions(
            "User",
            {"ordering": ["username"], "verbose_name": "user", "verbose_name_plural": "users"},
        ),
        migrations.AlterField(
            "User",
            "is_active",
            models.BooleanField(
                "can sign in",
                default=True,
                help_text="Users cannot be deleted. Clear this box to disable the account.",
            ),
        ),
        migrations.AlterField(
            "User",
            "username",
            models.CharField(
                help_text="Use only letters from a to z, digits and @ . + - _, starting with a letter or digit. Not case-sensitive.",
                max_length=60,
                unique=True,
                validators=[
                    django.core.validators.RegexValidator(
                        message="Use only letters from a to z, digits and @ . + - _, starting with a letter or digit.",
                        regex="\\A[a-z0-9][a-z0-9@.+_-]*\\Z",
                    )
                ],
            ),
        ),
    ]
