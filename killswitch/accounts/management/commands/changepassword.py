"""`manage.py changepassword`: in place of Django's own, which would leave no event."""

from typing import Any, NoReturn

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, transaction

from killswitch.accounts.management import password_input
from killswitch.accounts.models import User
from killswitch.accounts.services import save_person
from killswitch.audit.os_user import command_line_actor

REFUSED = 2


class Command(BaseCommand):
    help = (
        "Give a person a new password, recorded and told as when an administrator does it. It"
        f" comes from {password_input.VARIABLE} or from one line of standard input."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="what the person types to sign in")

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            person = _change(options["name"], password=password_input.given())
        except User.DoesNotExist:
            _refuse(f"nobody here is called {options['name']}.")
        except ValidationError as error:
            _refuse(" ".join(error.messages))
        except DatabaseError as error:
            _refuse(f"the database did not take it ({error}). Has `manage.py migrate` been run?")
        self.stdout.write(f"{person.full_text} has a new password; their sessions have ended.")


def _change(name: str, *, password: str) -> User:
    with transaction.atomic():
        person = User.objects.select_for_update(no_key=True).get(
            username=User.normalize_username(name)
        )
        validate_password(password, person)
        save_person(person, new_password=password, by=command_line_actor())
    return person


def _refuse(reason: str) -> NoReturn:
    raise CommandError(f"No password was changed: {reason}", returncode=REFUSED)
