from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0004_words_of_users")]

    operations = [
        migrations.AddField(
            "User",
            "must_change_password",
            models.BooleanField(db_default=False, default=False, editable=False),
        ),
    ]
