"""`manage.py changepassword`: replaces Django's own, which would record no event."""

from typing import Any

from django.contrib.auth.hashers import make_password
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandParser
from django.db import transaction

from killswitch.accounts.management import user_commands
from killswitch.accounts.models import User
from killswitch.accounts.services import save_user
from killswitch.audit.actors import command_line_actor


class Command(BaseCommand):
    help = (
        "Give a user a new password. This is recorded and raises an alarm, as on the pages of"
        " administrators, but the user need not change it."
        f" The password is read from {user_commands.VARIABLE} or from one line of standard"
        " input."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="the name to sign in with")

    def handle(self, *_args: Any, **options: Any) -> None:
        name = options["name"]
        with user_commands.refusing("The password was not changed"):
            password = user_commands.read_password()
            user = User.objects.filter(username=User.normalize_username(name)).first()
            if user is None:
                raise ValidationError(f"there is no user named {name}.")
            validate_password(password, user)
            password_hash = make_password(password)
            with transaction.atomic():
                user = User.objects.select_for_update(no_key=True).get(pk=user.pk)
                save_user(user, password_hash=password_hash, by=command_line_actor())
        self.stdout.write(f"{user.full_text} has a new password; their sessions have ended.")
