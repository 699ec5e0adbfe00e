"""`manage.py add_user`, as an operator runs it."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from killswitch.accounts.login_events import ANONYMOUS
from killswitch.accounts.models import RESERVED_NAMES, Role, User
from killswitch.alarms.models import Alarm
from killswitch.audit.actors import SYSTEM
from killswitch.audit.models import AuditEvent
from tests.accounts.people import events
from tests.factories import PASSWORD

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]


@pytest.fixture(autouse=True)
def _password(set_password: Callable[[str], None]) -> None:
    set_password(PASSWORD)


def _add(*arguments: str) -> str:
    out = io.StringIO()
    call_command("add_user", *arguments, stdout=out)
    return out.getvalue()


def _type(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.delenv("KILLSWITCH_PASSWORD")
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))


@pytest.mark.parametrize("role", Role)
def test_a_person_is_added_recorded_and_announced(role: Role) -> None:
    output = _add("Olga", "--role", role.lower(), "--full-name", "Olga Ray")
    assert output == f"Olga Ray (olga) can now sign in, as {role.label.lower()}.\n"
    person = User.objects.get(username="olga")
    assert person.role == role
    assert person.check_password(PASSWORD)
    (event,) = events("PERSON_ADDED")
    assert event.actor.startswith("os:")
    assert event.role == "OPERATING_SYSTEM"
    assert json.loads(event.data)["changes"]["role"] == [None, role]
    assert PASSWORD not in event.data
    alarm = Alarm.objects.get()
    login = event.actor.removeprefix("os:")
    assert alarm.title == f"Olga Ray (olga) was added as {role.label} by {login} (command line)."
    assert len(events("ALARM_RAISED")) == 1


def test_the_password_may_come_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    _type(monkeypatch, "from a pipe, all of it \r\nsecond line\n")
    _add("olga", "--role", "compliance")
    assert User.objects.get().check_password("from a pipe, all of it ")


@pytest.mark.parametrize(
    ("name", "password", "words"),
    [
        ("olga", "short", "too short"),
        ("olga", "password1234", "too common"),
        ("olga-the-officer", "olga-the-officer", "similar"),
        ("olga", "", "no password"),
        ("olga", "pass\x00word of some length", "control characters"),
        ("olga", "pass\udce9word of some length", "UTF-8"),
        ("", PASSWORD, "blank"),
        ("two words", PASSWORD, "letters from a to z"),
        ("\u043elga", PASSWORD, "letters from a to z"),
        ("x" * 61, PASSWORD, "at most 60"),
    ],
)
def test_a_refusal_gives_its_reason_and_leaves_no_trace(
    monkeypatch: pytest.MonkeyPatch, name: str, password: str, words: str
) -> None:
    _type(monkeypatch, password)
    with pytest.raises(CommandError, match=words) as error:
        _add(name, "--role", "compliance")
    assert error.value.returncode == 2
    assert not User.objects.exists()
    assert not AuditEvent.objects.exists()
    assert not Alarm.objects.exists()


def test_a_name_that_exists_is_refused_in_upper_and_lower_case() -> None:
    _add("olga", "--role", "compliance")
    with pytest.raises(CommandError, match="already exists"):
        _add("OLGA", "--role", "administrator")
    assert User.objects.get().role == Role.COMPLIANCE
    assert len(events("PERSON_ADDED")) == 1


def test_a_full_name_with_control_characters_is_refused() -> None:
    for name in ("Olga\x1b[2J", "Olga\u202eyaR", "Olga\udcff"):
        with pytest.raises(CommandError, match="control characters"):
            _add("olga", "--role", "compliance", "--full-name", name)


def _fail(*arguments: str, environment: dict[str, str]) -> str:
    """Run the command as a process, which must exit with two, and return its errors."""
    run = subprocess.run(
        [sys.executable, "manage.py", "add_user", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert run.returncode == 2
    assert "Traceback" not in run.stderr
    return run.stderr


@pytest.mark.parametrize("arguments", [["olga"], ["olga", "--role", "king"], []])
def test_a_wrong_command_line_exits_with_two(arguments: list[str]) -> None:
    _fail(*arguments, environment=os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings"})


def test_without_tables_it_names_the_command_to_run_and_exits_with_two(tmp_path: Any) -> None:
    environment = os.environ | {
        "KILLSWITCH_HOME": str(tmp_path),
        "DJANGO_SETTINGS_MODULE": "killswitch.settings",
        "KILLSWITCH_PASSWORD": PASSWORD,
    }
    environment.pop("DATABASE_URL", None)
    errors = _fail("olga", "--role", "compliance", environment=environment)
    assert "manage.py prepare" in errors


@pytest.mark.parametrize("name", ["system", "Anonymous", " SYSTEM ", "\uff33ystem", "\u017fystem"])
def test_the_names_that_the_log_uses_for_itself_are_refused(name: str) -> None:
    for arguments in ((name,), ("olga", "--full-name", name)):
        with pytest.raises(CommandError, match="This name is reserved for the audit log"):
            _add(*arguments, "--role", "compliance")
    assert not User.objects.exists()


def test_a_name_that_only_begins_like_one_of_the_logs_is_accepted() -> None:
    _add("system.desk", "--role", "compliance", "--full-name", "System Desk")
    assert User.objects.get().full_text == "System Desk (system.desk)"


def test_every_name_of_the_log_itself_is_reserved() -> None:
    assert {SYSTEM.name, ANONYMOUS.name} <= RESERVED_NAMES
