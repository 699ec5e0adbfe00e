"""The three people of the demo, with random passwords that stay the same over restarts."""

import os
import secrets
from pathlib import Path
from typing import NamedTuple

from django.conf import settings
from django.db import transaction

from killswitch.accounts.models import Role, User
from killswitch.accounts.services import save_person
from killswitch.audit.chain import SYSTEM

DEMO_USERNAMES = (
    ("olga", "Olga Ray", Role.RISK_OFFICER),
    ("carl", "Carl Ito", Role.COMPLIANCE),
    ("ada", "Ada Stone", Role.ADMINISTRATOR),
)


class DemoPerson(NamedTuple):
    """What `make run` prints of somebody who can be tried."""

    username: str
    role: Role
    password: str


def ensure_demo_people() -> list[DemoPerson]:
    """Make the demo people, or make their kept passwords valid again; none outside the demo.

    Somebody real with one of the names is left alone and not listed.
    """
    if not settings.DEMO:
        return []
    passwords = _kept_passwords(Path(settings.KILLSWITCH_HOME) / "demo-people.txt")
    people = []
    for username, full_name, role in DEMO_USERNAMES:
        with transaction.atomic():
            person = User.objects.filter(username=username).first() or User(
                username=username, full_name=full_name, role=role, is_demo=True
            )
            if person.is_demo:
                _give(person, passwords[username])
                people.append(DemoPerson(username, Role(person.role), passwords[username]))
    return people


def _give(person: User, password: str) -> None:
    if person.pk is None or not person.check_password(password):
        save_person(person, new_password=password, by=SYSTEM, alarm=False)


def _kept_passwords(path: Path) -> dict[str, str]:
    kept = _read(path)
    passwords = {name: kept.get(name) or secrets.token_urlsafe(12) for name, _, _ in DEMO_USERNAMES}
    if passwords != kept:
        _write(path, passwords)
    return passwords


def _read(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, UnicodeDecodeError):
        return {}
    return {words[0]: words[1] for words in map(str.split, lines) if len(words) == 2}


def _write(path: Path, passwords: dict[str, str]) -> None:
    """Whole or not at all, and never readable for others, not even for an instant."""
    fresh = path.with_suffix(f".{secrets.token_hex(4)}")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.writelines(f"{name} {password}\n" for name, password in passwords.items())
    fresh.replace(path)
