import django.core.validators
import django.db.models.functions.text
from django.db import migrations, models

import killswitch.accounts.models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="User",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("password", models.CharField(max_length=128, verbose_name="password")),
                (
                    "last_login",
                    models.DateTimeField(blank=True, null=True, verbose_name="last login"),
                ),
                (
                    "username",
                    models.CharField(
                        help_text="Letters from a to z, digits and @ . + - _; case does not matter.",
                        max_length=60,
                        unique=True,
                        validators=[
                            django.core.validators.RegexValidator(
                                message="Use letters from a to z, digits and @ . + - _ only.",
                                regex="\\A[a-z0-9][a-z0-9@.+_-]*\\Z",
                            )
                        ],
                    ),
                ),
                (
                    "full_name",
                    models.CharField(
                        blank=True,
                        max_length=120,
                        validators=[killswitch.accounts.models._no_control_characters],
                    ),
                ),
                (
                    "role",
                    models.CharField(
                        choices=[
                            ("RISK_OFFICER", "Risk officer"),
                            ("COMPLIANCE", "Compliance"),
                            ("ADMINISTRATOR", "Administrator"),
                        ],
                        max_length=20,
                    ),
                ),
                (
                    "is_active",
                    models.BooleanField(
                        default=True,
                        help_text="People are never deleted, only switched off.",
                        verbose_name="may sign in",
                    ),
                ),
                ("is_demo", models.BooleanField(default=False, editable=False)),
                ("date_joined", models.DateTimeField(auto_now_add=True)),
                ("epoch", models.PositiveIntegerField(default=0, editable=False)),
            ],
            options={
                "verbose_name": "person",
                "verbose_name_plural": "people",
                "ordering": ["username"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("role__in", ["RISK_OFFICER", "COMPLIANCE", "ADMINISTRATOR"])
                        ),
                        name="everybody_has_one_known_role",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("username", django.db.models.functions.text.Lower("username"))
                        ),
                        name="usernames_are_lower_case",
                    ),
                ],
            },
        ),
    ]
