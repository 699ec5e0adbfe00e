"""`manage.py changepassword` is recorded like an administrator's change; no superusers exist."""

import io
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import authenticate
from django.core.management import CommandError, call_command

from killswitch.accounts.models import Role, User
from killswitch.alarms.models import Alarm
from tests import factories
from tests.accounts.people import events

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]
NEW = "another battery of staples"


def change(*arguments: str) -> str:
    out = io.StringIO()
    call_command("changepassword", *arguments, stdout=out)
    return out.getvalue()


def test_a_new_password_works_is_recorded_and_raises_an_alarm(
    set_password: Callable[[str], None],
) -> None:
    set_password(NEW)
    epoch = factories.person(Role.RISK_OFFICER).session_epoch
    assert change("Olga") == "Olga Ray (olga) has a new password; their sessions have ended.\n"
    assert authenticate(username="olga", password=NEW) is not None
    assert authenticate(username="olga", password=factories.PASSWORD) is None
    (event,) = events("PASSWORD_CHANGED")
    assert event.actor.startswith("os:")
    assert NEW not in event.data
    assert User.objects.get().session_epoch == epoch + 1
    assert "Olga Ray (olga) was given a new password by " in Alarm.objects.get().title


@pytest.mark.parametrize(
    ("name", "password", "words"),
    [("ruth", NEW, "no user named ruth"), ("olga", "short", "too short")],
)
def test_a_refusal_changes_nothing(
    set_password: Callable[[str], None], name: str, password: str, words: str
) -> None:
    set_password(password)
    factories.person(Role.RISK_OFFICER)
    with pytest.raises(CommandError, match=words) as error:
        change(name)
    assert error.value.returncode == 2
    assert authenticate(username="olga", password=factories.PASSWORD) is not None
    assert events("PASSWORD_CHANGED") == []


@pytest.mark.parametrize("options", [{}, {"interactive": False, "username": "root"}])
def test_there_are_no_superusers(options: dict[str, Any]) -> None:
    with pytest.raises(CommandError, match="add_user NAME --role administrator") as error:
        call_command("createsuperuser", **options)
    assert error.value.returncode == 2
    assert not User.objects.exists()
