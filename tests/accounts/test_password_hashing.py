"""A password is hashed, slowly, while no transaction is open: other writers would wait for it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.hashers import MD5PasswordHasher
from django.core.management import call_command
from django.db import connection
from django.test import Client

from killswitch.accounts.demo import ensure_demo_users
from killswitch.accounts.models import Role, User
from tests import factories
from tests.accounts.people import sign_in, signed_in
from tests.forms import submit

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]
FRESH = "a much better one 7"
in_transaction: list[bool] = []


class WatchedHasher(MD5PasswordHasher):
    """Notes whether a transaction is open each time it hashes."""

    algorithm = "watched"

    def encode(self, password: str, salt: str) -> str:
        in_transaction.append(connection.in_atomic_block)
        return super().encode(password, salt)


def add(administrator: Client) -> None:
    names = {"username": "nora", "full_name": "Nora Lind", "role": "COMPLIANCE"}
    passwords = {"password1": FRESH, "password2": FRESH}
    submit(administrator, "/administration/people/add/", **names, **passwords)
    assert User.objects.get(username="nora").check_password(FRESH)


def reset(administrator: Client) -> None:
    olga = factories.person(Role.RISK_OFFICER)
    path = f"/administration/people/{olga.pk}/password/"
    submit(administrator, path, password1=FRESH, password2=FRESH)
    assert User.objects.get(pk=olga.pk).check_password(FRESH)


def change_own(administrator: Client) -> None:
    old = {"oldpassword": factories.PASSWORD}
    administrator.post("/accounts/password/change/", old | {"password1": FRESH, "password2": FRESH})
    assert User.objects.get(username="ada").check_password(FRESH)


def sign_in_again(administrator: Client) -> None:
    assert sign_in(Client(), "ada").status_code == 302


def add_by_command(administrator: Client) -> None:
    call_command("add_user", "nora", "--role", "compliance")
    assert User.objects.get(username="nora").check_password(FRESH)


def change_by_command(administrator: Client) -> None:
    call_command("changepassword", "ada")
    assert User.objects.get(username="ada").check_password(FRESH)


def prepare_the_demo(administrator: Client) -> None:
    assert ensure_demo_users()


@pytest.mark.parametrize(
    "act",
    [
        add,
        reset,
        change_own,
        sign_in_again,
        add_by_command,
        change_by_command,
        prepare_the_demo,
    ],
)
def test_no_transaction_waits_for_a_hash(
    limits: None,
    settings: Any,
    tmp_path: Path,
    set_password: Callable[[str], None],
    act: Callable[[Client], None],
) -> None:
    hasher = f"{WatchedHasher.__module__}.{WatchedHasher.__qualname__}"
    settings.PASSWORD_HASHERS = [hasher, *settings.PASSWORD_HASHERS]
    settings.KILLSWITCH_HOME, settings.DEMO = tmp_path, True
    set_password(FRESH)
    ada = signed_in(Role.ADMINISTRATOR)
    ada.post("/accounts/password/again/", {"password": factories.PASSWORD, "next": "/"})
    in_transaction.clear()
    act(ada)
    assert in_transaction
    assert not any(in_transaction)
