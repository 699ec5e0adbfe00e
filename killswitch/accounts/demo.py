"""The three people of the demo, with random passwords that stay the same over restarts."""

import secrets
from pathlib import Path
from typing import NamedTuple

from django.conf import settings
from django.db import transaction

from killswitch.accounts.models import Role, User
from killswitch.accounts.services import save_person
from killswitch.audit.chain import SYSTEM
from killswitch.runtime.files import replace_file

DEMO_PEOPLE = (
    ("olga", "Olga Ray", Role.RISK_OFFICER),
    ("carl", "Carl Ito", Role.COMPLIANCE),
    ("ada", "Ada Stone", Role.ADMINISTRATOR),
)


class DemoPerson(NamedTuple):
    """A demo person, as `make run` prints them."""

    username: str
    role: Role
    password: str


def ensure_demo_people() -> list[DemoPerson]:
    """Add the demo people or restore their passwords, and return them; none outside the demo.

    A real person with one of their names is left alone and not returned.
    """
    if not settings.DEMO:
        return []
    passwords = _load_passwords(Path(settings.KILLSWITCH_HOME) / "demo-people.txt")
    people = []
    for username, full_name, role in DEMO_PEOPLE:
        password = passwords[username]
        with transaction.atomic():
            person = User.objects.filter(username=username).first() or User(
                username=username, full_name=full_name, role=role, is_demo=True
            )
            if not person.is_demo:
                continue
            if person.pk is None or not person.check_password(password):
                save_person(person, new_password=password, by=SYSTEM, alarm=False)
        people.append(DemoPerson(username, Role(person.role), password))
    return people


def _load_passwords(path: Path) -> dict[str, str]:
    """Return the passwords of the file, with new ones for those that it lacks."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, UnicodeDecodeError):
        lines = []
    stored = {words[0]: words[1] for words in map(str.split, lines) if len(words) == 2}
    passwords = {
        username: stored.get(username) or secrets.token_urlsafe(12)
        for username, _, _ in DEMO_PEOPLE
    }
    if passwords != stored:
        text = "".join(f"{username} {password}\n" for username, password in passwords.items())
        replace_file(path, text.encode())
    return passwords
