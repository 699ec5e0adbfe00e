"""`manage.py createsuperuser`: replaces Django's own, because there are no superusers."""

from typing import Any

from django.contrib.auth.management.commands import createsuperuser
from django.core.management.base import CommandError

from killswitch.accounts.management.user_commands import REFUSED


class Command(createsuperuser.Command):
    help = "There are no superusers: `manage.py add_user NAME --role administrator` adds users."
    requires_system_checks: list[str] = []

    def handle(self, *_args: Any, **_options: Any) -> None:
        raise CommandError(
            "No user was added: there are no superusers. Use"
            " `manage.py add_user NAME --role administrator`.",
            returncode=REFUSED,
        )
