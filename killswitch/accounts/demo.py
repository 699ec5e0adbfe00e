"""The users of the demo, with random passwords that stay the same over restarts."""

import secrets
from pathlib import Path
from typing import NamedTuple

from django.conf import settings
from django.contrib.auth.hashers import make_password

from killswitch.accounts.models import Role, User
from killswitch.accounts.services import save_user
from killswitch.audit.actors import SYSTEM
from killswitch.runtime.files import replace_file

DEMO_USERS = (
    ("olga", "Olga Ray", Role.RISK_OFFICER),
    ("ivan", "Ivan Petrov", Role.RISK_OFFICER),  # a Hold is released by two people
    ("carl", "Carl Ito", Role.COMPLIANCE),
    ("ada", "Ada Stone", Role.ADMINISTRATOR),
)


class DemoUser(NamedTuple):
    """A demo user, as `make run` prints them."""

    username: str
    role: Role
    password: str


def ensure_demo_users() -> list[DemoUser]:
    """Add the demo users or restore their passwords, and return them; none outside the demo.

    A real user with one of their names is not changed and not returned.
    """
    if not settings.DEMO:
        return []
    passwords = _load_passwords(Path(settings.KILLSWITCH_HOME) / "demo-people.txt")
    users = []
    for username, full_name, role in DEMO_USERS:
        password = passwords[username]
        user = User.objects.filter(username=username).first() or User(
            username=username, full_name=full_name, role=role, is_demo=True
        )
        if not user.is_demo:
            continue
        if user.pk is None or not user.check_password(password):
            user.must_change_password = False
            save_user(user, password_hash=make_password(password), by=SYSTEM, alarm=False)
        users.append(DemoUser(username, Role(user.role), password))
    return users


def _load_passwords(path: Path) -> dict[str, str]:
    """Return the passwords of the file, with new ones for those that it lacks."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, UnicodeDecodeError):
        lines = []
    old_passwords = {words[0]: words[1] for words in map(str.split, lines) if len(words) == 2}
    passwords = {
        username: old_passwords.get(username) or secrets.token_urlsafe(12)
        for username, _, _ in DEMO_USERS
    }
    if passwords != old_passwords:
        text = "".join(f"{username} {password}\n" for username, password in passwords.items())
        replace_file(path, text.encode())
    return passwords
