from django.db import migrations, models


class Migration(migrations.Migration):
    """When the EMS was first seen to list an open order of an exchange."""

    dependencies = [("exchanges", "0004_words_of_exchanges")]

    operations = [
        migrations.AddField(
            model_name="exchange",
            name="first_listed_at",
            field=models.DateTimeField(editable=False, null=True),
        ),
    ]
