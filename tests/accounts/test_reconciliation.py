"""A person who was changed outside the product is detected."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.hashers import make_password
from django.core.management import call_command

from killswitch.accounts.demo import ensure_demo_users
from killswitch.accounts.models import Role, User
from killswitch.accounts.services import add_user, change_own_password, save_user
from killswitch.audit.actors import SYSTEM
from killswitch.audit.chain import Head
from killswitch.audit.verification.findings import Proof
from killswitch.audit.verification.verify import verify, verify_newest
from tests import factories
from tests.audit.assertions import assert_found, assert_good, only

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def rita(settings: Any, tmp_path: Any) -> User:
    """A person with every kind of change: role, name, off and on, and two passwords."""
    settings.KILLSWITCH_HOME = tmp_path
    person = add_user(username="rita", role=Role.COMPLIANCE, password=factories.PASSWORD, by=SYSTEM)
    person.role, person.full_name, person.is_active = Role.RISK_OFFICER, "Rita Moss", False
    save_user(person, by=SYSTEM)
    person.is_active = True
    save_user(person, password_hash=make_password(factories.PASSWORD[::-1]), by=SYSTEM)
    change_own_password(user=person, password=factories.PASSWORD, origin={})
    assert_good(verify())
    return person


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("username", "ritb"),
        ("full_name", "Rita Mess"),
        ("is_active", False),
        ("role", Role.ADMINISTRATOR),
        ("must_change_password", True),
    ],
)
def test_a_column_changed_by_hand_is_detected(rita: User, column: str, value: object) -> None:
    assert User.objects.filter(pk=rita.pk).update(**{column: value}) == 1
    for verdict in (verify(), verify_newest(Head())):
        assert only(verdict) is Proof.TABLES
        assert "user rit" in verdict.reason


def test_a_person_deleted_or_inserted_by_hand_is_detected(rita: User) -> None:
    factories.person(Role.RISK_OFFICER, username="mallory")
    assert_found(verify(), Proof.TABLES, "user mallory", "no event says that it was added")
    User.objects.filter(username="mallory").delete()
    assert_good(verify())
    rita.delete()
    assert_found(verify(), Proof.TABLES, "user rita was deleted")


def test_signing_in_changes_no_column_that_is_compared(rita: User) -> None:
    User.objects.update(last_login=rita.date_joined, password="!", session_epoch=9)
    assert_good(verify())


def test_the_people_of_the_demo_and_of_the_command_line_are_in_the_log(
    settings: Any, set_password: Callable[[str], None]
) -> None:
    settings.DEMO = True
    assert len(ensure_demo_users()) == 4
    set_password(factories.PASSWORD)
    call_command("add_user", "ada.b", "--role", "administrator", "--full-name", "Ada B")
    assert User.objects.count() == 6
    assert_good(verify())
