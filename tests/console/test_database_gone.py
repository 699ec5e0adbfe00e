"""When the database is gone: a page with the manual commands, and never a traceback."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import Client

from killswitch.break_glass import exchange_snapshot
from killswitch.break_glass.upkeep import registry_snapshot
from killswitch.cancels import manual_cancel
from killswitch.cancels.models import Batch
from tests import factories
from tests.console.press_helpers import HTMX, key_in, path_of, question
from tests.markup import html

pytestmark = pytest.mark.django_db


@pytest.fixture
def unwritable(officer: Client) -> Iterator[None]:
    """A database that refuses every write, as with a full disk."""

    def refuse(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith(("INSERT", "UPDATE")):
            raise OperationalError("disk full")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(refuse):
        yield


@pytest.fixture
def unreachable(officer: Client) -> Iterator[None]:
    """A database that does not answer."""

    def refuse(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        raise OperationalError("gone")

    with connection.execute_wrapper(refuse):
        officer.raise_request_exception = False
        yield


def test_a_request_that_is_not_recorded_offers_the_same_key_and_the_manual_commands(
    officer: Client, request: pytest.FixtureRequest, settings: Any
) -> None:
    settings.EMS_BASE_URL = "https://ems.example:8080"
    path = path_of(factories.exchange("KRAKEN/O'NEIL"))
    key = key_in(question(officer, path))
    request.getfixturevalue("unwritable")
    for headers in (HTMX, {}):
        answer = officer.post(path, {"key": key, "reason": "Drill"}, headers=headers)
        page = html(answer)
        assert (answer.status_code, answer["X-Recorded"]) == (503, "no")
        assert "Not recorded: send again" in page
        assert key_in(page) == key
        assert "https://ems.example:8080/v1/orders/cancel/all" in page
        assert "$EMS_API_KEY" in page
    assert Batch.objects.count() == 0


def test_a_page_says_that_the_database_is_gone_and_names_the_exchanges_last_known(
    officer: Client, request: pytest.FixtureRequest, settings: Any, tmp_path: Path
) -> None:
    settings.KILLSWITCH_HOME = tmp_path
    factories.exchange("KRAKEN")
    exchange_snapshot.write(tmp_path, registry_snapshot())
    officer.get("/")
    request.getfixturevalue("unreachable")
    answer = officer.get("/")
    assert answer.status_code == 503
    assert "The database is unavailable" in html(answer)
    assert "KRAKEN" in html(answer)
    assert 'href="/telephone-cards/"' in html(answer)
    assert officer.get("/poll/", headers=HTMX).status_code == 503


def test_a_stranger_then_learns_neither_the_ems_nor_an_exchange(
    officer: Client, request: pytest.FixtureRequest, settings: Any
) -> None:
    settings.EMS_BASE_URL = "https://ems.example:8080"
    factories.exchange("KRAKEN")
    officer.get("/")
    request.getfixturevalue("unreachable")
    stranger = Client(raise_request_exception=False)
    forged = Client(raise_request_exception=False)
    forged.cookies[settings.SESSION_COOKIE_NAME] = "a" * 32
    forged.cookies[settings.OFFICER_COOKIE_NAME] = "yes:1abcde:forged"
    for path in ("/", "/accounts/login/"):
        for browser, headers in ((stranger, {}), (forged, HTMX), (forged, {})):
            answer = browser.get(path, headers=headers)
            assert "ems.example" not in html(answer)
            assert "KRAKEN" not in html(answer)
    answer = forged.get("/")
    assert answer.status_code == 503
    assert "Only risk officers see the commands." in html(answer)


def test_neither_does_a_browser_in_which_compliance_is_signed_in(
    compliance: Client, request: pytest.FixtureRequest, settings: Any
) -> None:
    assert settings.OFFICER_COOKIE_NAME not in compliance.get("/").cookies
    request.getfixturevalue("unreachable")
    compliance.raise_request_exception = False
    assert "curl" not in html(compliance.get("/"))


def test_an_officers_browser_is_known_until_they_sign_out(
    officer: Client, settings: Any, request: pytest.FixtureRequest
) -> None:
    cookie = officer.get("/").cookies[settings.OFFICER_COOKIE_NAME]
    assert (cookie["httponly"], cookie["samesite"]) == (True, "Strict")
    assert cookie["max-age"] == settings.SESSION_COOKIE_AGE
    officer.post("/accounts/logout/")
    request.getfixturevalue("unreachable")
    officer.cookies[settings.SESSION_COOKIE_NAME] = "a" * 32
    assert "curl" not in html(officer.get("/"))


def test_a_known_browser_is_forgotten_after_a_sessions_time(
    officer: Client, request: pytest.FixtureRequest, settings: Any
) -> None:
    officer.get("/")
    request.getfixturevalue("unreachable")
    settings.SESSION_COOKIE_AGE = -1
    assert "curl" not in html(officer.get("/"))


def test_a_page_that_cannot_know_does_not_call_a_request_unrecorded(
    officer: Client, request: pytest.FixtureRequest
) -> None:
    path = path_of(factories.exchange("KRAKEN"))
    officer.get("/")
    request.getfixturevalue("unreachable")
    answer = officer.post(path, {"key": "x"}, headers=HTMX)
    assert (answer.status_code, answer["X-Recorded"]) == (503, "unknown")
    assert "It is not known whether your request was recorded" in html(answer)
    assert 'name="key" value="x"' in html(answer)


@pytest.mark.parametrize(
    "url",
    [
        "https://name:secret@ems.example",
        "https://ems.example?key=secret",
        'https://ems.example/"$(secret)',
        "",
    ],
)
def test_the_manual_command_never_shows_a_secret(settings: Any, url: str) -> None:
    settings.EMS_BASE_URL = url
    settings.EMS_API_KEY = "secret"
    command = manual_cancel.command("KRAKEN")
    assert "secret" not in command
    assert '"$EMS_BASE_URL/v1/orders/cancel/all"' in command


def test_the_manual_command_survives_any_exchange_id() -> None:
    assert manual_cancel.command("A'B").endswith("""-d '{"exchange_id": "A'"'"'B"}'""")
