"""The three people of the demo, and their passwords' file."""

from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import authenticate

from killswitch.accounts.demo import ensure_demo_users
from killswitch.accounts.models import Role, User
from killswitch.alarms.models import Alarm
from tests import factories
from tests.accounts.people import events

pytestmark = [pytest.mark.django_db]


@pytest.fixture(autouse=True)
def home(settings: Any, tmp_path: Path) -> Path:
    settings.DEMO = True
    settings.KILLSWITCH_HOME = tmp_path
    return tmp_path


def test_there_is_each_role_with_two_risk_officers_and_their_passwords_work() -> None:
    people = ensure_demo_users()
    assert [(name, role) for name, role, _ in people] == [
        ("olga", Role.RISK_OFFICER),
        ("ivan", Role.RISK_OFFICER),
        ("carl", Role.COMPLIANCE),
        ("ada", Role.ADMINISTRATOR),
    ]
    for name, _, password in people:
        assert authenticate(username=name, password=password) is not None
    assert len({password for _, _, password in people}) == 4
    assert not Alarm.objects.exists()
    assert len(events("PERSON_ADDED")) == 4


def test_only_its_owner_can_read_the_file(home: Path) -> None:
    ensure_demo_users()
    assert [path.name for path in home.iterdir()] == ["demo-people.txt"]
    assert (home / "demo-people.txt").stat().st_mode & 0o777 == 0o600


def test_a_restart_changes_nothing() -> None:
    first = ensure_demo_users()
    assert ensure_demo_users() == first
    assert len(events("PERSON_ADDED", "PASSWORD_CHANGED")) == 4


def test_a_lost_file_gives_new_passwords_that_work(home: Path) -> None:
    first = ensure_demo_users()
    (home / "demo-people.txt").unlink()
    second = ensure_demo_users()
    assert second != first
    assert authenticate(username="olga", password=second[0].password) is not None
    assert len(events("PASSWORD_CHANGED")) == 4


def test_a_lost_database_keeps_the_passwords() -> None:
    first = ensure_demo_users()
    User.objects.all().delete()
    assert ensure_demo_users() == first


def test_a_real_person_of_that_name_is_left_alone() -> None:
    factories.person(Role.ADMINISTRATOR, username="olga")
    assert [person.username for person in ensure_demo_users()] == ["ivan", "carl", "ada"]
    assert User.objects.get(username="olga").check_password(factories.PASSWORD)


def test_outside_the_demo_there_are_none(settings: Any, home: Path) -> None:
    settings.DEMO = False
    assert ensure_demo_users() == []
    assert not User.objects.exists()
    assert list(home.iterdir()) == []
