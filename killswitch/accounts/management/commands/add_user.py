"""`manage.py add_user`: adds the first users, and others without a web page."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from killswitch.accounts.management import user_commands
from killswitch.accounts.models import Role, role_label
from killswitch.accounts.services import add_user
from killswitch.audit.actors import command_line_actor


class Command(BaseCommand):
    help = (
        f"Add a user who can sign in. The password is read from {user_commands.VARIABLE}, from"
        f" the file {user_commands.VARIABLE}_FILE or, if neither is set, from one line of standard"
        " input."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="the name to sign in with")
        parser.add_argument("--role", required=True, choices=[role.lower() for role in Role.values])
        parser.add_argument("--full-name", default="", help="the name on pages and in the log")

    def handle(self, *_args: Any, **options: Any) -> None:
        with user_commands.refusing("No user was added"):
            user = add_user(
                username=options["name"],
                full_name=options["full_name"],
                role=Role(options["role"].upper()),
                password=user_commands.read_password(),
                by=command_line_actor(),
            )
        role = role_label(user.role).lower()
        self.stdout.write(f"{user.full_text} can now sign in, as {role}.")
