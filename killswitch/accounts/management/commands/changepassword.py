"""`manage.py changepassword`: replaces Django's own, which would record no event."""

from typing import Any, NoReturn

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, transaction

from killswitch.accounts.management import password_input
from killswitch.accounts.models import User
from killswitch.accounts.services import save_user
from killswitch.audit.os_user import command_line_actor

REFUSED = 2


class Command(BaseCommand):
    help = (
        "Give a user a new password. This is recorded and raises an alarm, as on the admin"
        f" pages. The password is read from {password_input.VARIABLE} or from one line of standard"
        " input."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="the name to sign in with")

    def handle(self, *_args: Any, **options: Any) -> None:
        name = options["name"]
        try:
            password = password_input.read_password()
            with transaction.atomic():
                user = User.objects.select_for_update(no_key=True).get(
                    username=User.normalize_username(name)
                )
                validate_password(password, user)
                save_user(user, new_password=password, by=command_line_actor())
        except User.DoesNotExist:
            _refuse(f"there is no user named {name}.")
        except ValidationError as error:
            _refuse(" ".join(error.messages))
        except DatabaseError as error:
            _refuse(f"database error ({error}). Run `manage.py prepare` first.")
        self.stdout.write(f"{user.full_text} has a new password; their sessions have ended.")


def _refuse(reason: str) -> NoReturn:
    raise CommandError(f"The password was not changed: {reason}", returncode=REFUSED)
