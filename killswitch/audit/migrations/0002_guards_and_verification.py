from django.db import migrations, models

from killswitch.audit.triggers import protection


def put_up_guards(_apps, schema_editor):
    protection.install(schema_editor.connection)


class Migration(migrations.Migration):
    dependencies = [
        ("audit", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="Verification",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("at", models.DateTimeField()),
                ("ok", models.BooleanField()),
                ("head_seq", models.BigIntegerField()),
                ("head_hash", models.CharField(max_length=64)),
                ("first_bad_seq", models.BigIntegerField(null=True)),
                ("reason", models.TextField(blank=True)),
                ("warnings", models.TextField(blank=True)),
                ("whole_at", models.DateTimeField()),
                ("whole_seq", models.BigIntegerField()),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("id", 1)), name="only_the_last_verification_is_kept"
                    )
                ],
            },
        ),
        # They stay when this migration is taken back: no migration leaves the log unguarded.
        migrations.RunPython(put_up_guards, migrations.RunPython.noop),
    ]
