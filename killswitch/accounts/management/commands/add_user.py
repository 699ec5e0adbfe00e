"""`manage.py add_user`: the way the first people get in, and one that needs no web page."""

from typing import Any, NoReturn

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from killswitch.accounts.management import password_input
from killswitch.accounts.models import Role
from killswitch.accounts.services import add_person
from killswitch.audit.os_user import command_line_actor

REFUSED = 2


class Command(BaseCommand):
    help = (
        f"Add a person who may sign in. The password comes from {password_input.VARIABLE} or,"
        " where that is not set, from one line of standard input."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="what the person types to sign in")
        parser.add_argument("--role", required=True, choices=[role.lower() for role in Role.values])
        parser.add_argument("--full-name", default="", help="how pages and the log name them")

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            person = add_person(
                username=options["name"],
                full_name=options["full_name"],
                role=Role(options["role"].upper()),
                password=password_input.given(),
                by=command_line_actor(),
            )
        except ValidationError as error:
            _refuse(" ".join(error.messages))
        except DatabaseError as error:
            _refuse(f"the database did not take it ({error}). Has `manage.py migrate` been run?")
        role = Role(person.role).label.lower()
        self.stdout.write(f"{person.full_text} may sign in now, as {role}.")


def _refuse(reason: str) -> NoReturn:
    raise CommandError(f"Nobody was added: {reason}", returncode=REFUSED)
