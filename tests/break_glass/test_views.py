"""Break glass in the browser. No test here has a database: any query fails it."""

import json
import os
import re
import socket
import time
from collections.abc import Iterator
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from django.core import signing
from django.test import Client, RequestFactory

from killswitch.accounts import officer_cookie
from killswitch.accounts.models import Role
from killswitch.accounts.officer_cookie import KnownOfficer
from killswitch.break_glass import (
    confirmation,
    exchange_snapshot,
    holders,
    outage,
    press_registry,
)
from killswitch.break_glass.confirmation import MAX_EXCHANGES, Question
from killswitch.break_glass.exchange_snapshot import KnownExchange, Snapshot
from killswitch.break_glass.journal import Journal
from killswitch.break_glass.journal_reader import Line
from killswitch.break_glass.press_registry import (
    LIMIT_WINDOW_S,
    MAX_PRESSES,
    MAX_REQUESTS,
    PressLimit,
    PressRegistry,
)
from killswitch.simulator.server import Simulator
from tests.break_glass.conftest import forget_failure
from tests.conftest import wait_for

SESSION = "a" * 32
URL = "/break-glass/"


def officer(**fields: Any) -> KnownOfficer:
    values: dict[str, Any] = {
        "user_id": 7,
        "name": "Olga Ray (olga)",
        "role": "Risk officer",
        "role_key": Role.RISK_OFFICER,
        "session": officer_cookie._hash(SESSION),
        "ends_at": int(time.time()) + 3600,
    }
    return KnownOfficer(**values | fields)


def client_of(known: KnownOfficer | None, settings: Any, *, session: str = SESSION) -> Client:
    client = Client(enforce_csrf_checks=False)
    if known:
        value = signing.dumps(vars(known), salt=officer_cookie.SALT)
        client.cookies[settings.OFFICER_COOKIE_NAME] = value
    client.cookies[settings.SESSION_COOKIE_NAME] = session
    return client


@pytest.fixture(autouse=True)
def host(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A host that knows two exchanges, on which the database has just failed."""
    rows = [
        KnownExchange(
            id=number,
            exchange_id=name,
            name="",
            enabled=True,
            caveat="",
            ever_listed=True,
            open_orders=5,
            seen_at=None,
        )
        for number, name in ((1, "KRAKEN"), (2, "BINANCE"))
    ]
    exchange_snapshot.write(home, Snapshot(exchanges=rows, groups={"3": [2]}))
    monkeypatch.setattr(press_registry, "PROCESS", PressRegistry())
    outage.note_failure()
    yield
    forget_failure()


@pytest.fixture
def olga(settings: Any) -> Client:
    return client_of(officer(), settings)


def key_in(response: Any) -> str:
    match = re.search(r'name="key" value="([^"]+)"', response.content.decode())
    assert match
    return match[1]


def form(client: Client, *exchange_ids: str) -> dict[str, Any]:
    """Return what the form of a question sends."""
    page = client.get(URL, {"exchange": exchange_ids})
    assert page.status_code == 200
    return {"key": key_in(page), "exchange": exchange_ids, "reason": ["Drill", "no log"]}


def test_a_press_reaches_the_ems_and_shows_its_outcome(
    olga: Client, simulator: Simulator, home: Path
) -> None:
    simulator.script("KRAKEN", cancel=["ok"], orders=5)
    response = olga.post(URL, form(olga, "KRAKEN"))
    assert response.status_code == 303
    wait_for(lambda: 'data-status="CONFIRMED"' in shown(olga, response), seconds=10)
    page = shown(olga, response)
    assert "1 of 1 confirmed" in page
    assert "hx-trigger" not in page
    assert len(simulator.calls("KRAKEN")) == 1
    press = Journal(home).read().lines[0].data
    assert (press["by_name"], press["user_id"]) == ("Olga Ray (olga)", 7)
    assert press["reason"] == "Drill: no log"


def shown(client: Client, response: Any) -> str:
    return " ".join(client.get(response["Location"]).content.decode().split())


def test_all_exchanges_are_those_of_the_question(olga: Client, simulator: Simulator) -> None:
    for name in ("KRAKEN", "BINANCE"):
        simulator.script(name, cancel=["ok"], orders=5)
    page = olga.get(URL).content.decode()
    assert re.findall(r'name="exchange" value="([^"]+)"', page) == ["KRAKEN", "BINANCE"]
    assert 'name="everywhere"' in page
    sent = {"key": key_in(olga.get(URL)), "exchange": ["KRAKEN", "BINANCE"], "everywhere": "1"}
    assert olga.post(URL, {**sent, "everywhere": []}).status_code == 400, "the key is bound to it"
    response = olga.post(URL, sent)
    wait_for(lambda: "2 of 2 confirmed" in shown(olga, response), seconds=10)


FORGED = [
    pytest.param({"role_key": Role.COMPLIANCE}, SESSION, id="compliance"),
    pytest.param({"role_key": Role.ADMINISTRATOR}, SESSION, id="administrator"),
    pytest.param({"ends_at": int(time.time()) - 1}, SESSION, id="expired"),
    pytest.param({}, "b" * 32, id="stolen: another session"),
    pytest.param({}, "", id="stolen: no session"),
]


@pytest.mark.parametrize(("fields", "session"), FORGED)
def test_nobody_but_a_risk_officer_in_their_own_session_gets_in(
    simulator: Simulator, settings: Any, olga: Client, fields: dict[str, Any], session: str
) -> None:
    sent = form(olga, "KRAKEN")
    client = client_of(officer(**fields), settings, session=session)
    for response in (client.get(URL), client.post(URL, sent)):
        assert response.status_code == 403
        assert "Nothing was sent." in response.content.decode()
    assert simulator.calls("KRAKEN") == []


@pytest.mark.parametrize("cookie", ["", "x", "yes", "yes:1tabcd:signature"])
def test_a_cookie_that_was_not_signed_here_opens_nothing(
    simulator: Simulator, settings: Any, olga: Client, cookie: str
) -> None:
    sent = form(olga, "KRAKEN")
    client = client_of(None, settings)
    client.cookies[settings.OFFICER_COOKIE_NAME] = cookie
    assert client.post(URL, sent).status_code == 403
    forged = signing.dumps(vars(officer()), salt=officer_cookie.SALT, key="another key")
    client.cookies[settings.OFFICER_COOKIE_NAME] = forged
    assert client.post(URL, sent).status_code == 403
    assert simulator.calls("KRAKEN") == []


INVALID = [
    *([name] for name in ("KRAKEN\nBINANCE", "K" * 201, "K\x00", "K N", "\u202eK", "")),
    [f"E{number}" for number in range(MAX_EXCHANGES + 1)],
]


@pytest.mark.parametrize("names", INVALID, ids=lambda names: ascii(names)[:20])
def test_what_cannot_be_a_list_of_exchange_ids_is_refused(
    olga: Client, simulator: Simulator, home: Path, names: list[str]
) -> None:
    """Such a request could be journaled and sent, but not be recorded in the log afterwards."""
    asked = Question(exchange_ids=names, everywhere=False, snapshot=None)
    sent = {"exchange": names, "key": asked.make_key(user_id=7)}
    for response in (olga.get(URL, {"exchange": names}), olga.post(URL, sent)):
        assert response.status_code == 400
        assert "Nothing was sent." in " ".join(response.content.decode().split())
    assert simulator.calls() == []
    assert Journal(home).read().lines == []


def test_a_line_that_another_program_wrote_is_not_shown(
    olga: Client, simulator: Simulator, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulator.script("KRAKEN", cancel=["ok"], orders=5)
    response = olga.post(URL, form(olga, "KRAKEN"))
    wait_for(lambda: "1 of 1 confirmed" in shown(olga, response), seconds=10)
    lines = Journal(home).read().lines
    forged = [*lines[:-1], Line(**{**vars(lines[-1]), "seal": "0" * 64})]
    (home / "break_glass.jsonl").write_text("".join(f"{line.text}\n" for line in forged))
    monkeypatch.setattr(press_registry, "PROCESS", PressRegistry())  # as in another process
    assert "0 of 1 confirmed" in shown(olga, response)


ROW = {"id": 1, "exchange_id": "KRAKEN", "name": "", "enabled": True, "caveat": ""}
ROW |= {"ever_listed": True, "open_orders": 5, "seen_at": "2026-11-30T08:00:00.000000Z"}
HOSTILE_ROWS: list[dict[str, Any]] = [
    {"seen_at": "yesterday"},
    {"seen_at": "2026-11-30T08:00:00"},
    {"seen_at": 5},
    {"exchange_id": 5},
    {"caveat": "\ud800"},
    {"open_orders": 2**60},
    {"open_orders": "5"},
    {"more": 1},
]


@pytest.mark.parametrize("fields", HOSTILE_ROWS, ids=str)
def test_a_file_of_exchanges_that_was_damaged_stops_no_cancel(
    olga: Client, simulator: Simulator, home: Path, fields: dict[str, Any]
) -> None:
    simulator.script("KRAKEN", cancel=["ok"], orders=5)
    content = json.dumps({"exchanges": [ROW | fields], "groups": {}})
    (home / exchange_snapshot.FILE).write_text(content)
    response = olga.post(URL, form(olga, "KRAKEN"))
    wait_for(lambda: "1 of 1 confirmed" in shown(olga, response), seconds=10)
    assert "Journaled on this server" in shown(olga, response)


def test_a_pipe_in_place_of_the_file_of_exchanges_is_not_waited_for(
    olga: Client, home: Path
) -> None:
    (home / exchange_snapshot.FILE).unlink()
    os.mkfifo(home / exchange_snapshot.FILE)
    assert "KRAKEN" in olga.get(URL, {"exchange": "KRAKEN"}).content.decode()
    assert "does not know which exchanges there are" in olga.post(URL).content.decode()


@pytest.mark.parametrize("key", ["", "x"])
def test_without_a_key_nothing_is_sent_and_the_question_comes_again(
    olga: Client, simulator: Simulator, key: str
) -> None:
    response = olga.post(URL, form(olga, "KRAKEN") | {"key": key})
    assert response.status_code == 400
    assert "no cancel was sent" in response.content.decode()
    assert key_in(response)
    assert simulator.calls("KRAKEN") == []


def test_a_key_is_for_its_person_its_exchanges_and_ten_minutes(
    olga: Client, simulator: Simulator, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = form(olga, "KRAKEN")
    monkeypatch.setattr(confirmation, "MAX_KEY_AGE", timedelta(seconds=-1))
    assert olga.post(URL, form(olga, "KRAKEN")).status_code == 400
    other = client_of(officer(user_id=8), settings)
    assert other.post(URL, sent).status_code == 400
    assert olga.post(URL, sent | {"exchange": "BINANCE"}).status_code == 400
    assert simulator.calls("KRAKEN") == simulator.calls("BINANCE") == []


def test_two_presses_with_one_key_are_one(
    olga: Client, simulator: Simulator, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    simulator.script("KRAKEN", cancel=["ok"], orders=5)
    sent = form(olga, "KRAKEN")
    first, *others = [olga.post(URL, sent) for _ in range(MAX_PRESSES + 2)]
    assert {response["Location"] for response in others} == {first["Location"]}
    # In another process, only the journal knows of it.
    monkeypatch.setattr(press_registry, "PROCESS", PressRegistry())
    assert olga.post(URL, sent)["Location"] == first["Location"]
    wait_for(lambda: "1 of 1 confirmed" in shown(olga, first), seconds=10)
    assert len(simulator.calls("KRAKEN")) == 1
    assert [line.kind for line in Journal(home).read().lines].count("PRESS") == 1


def test_a_form_of_another_site_is_refused(settings: Any, simulator: Simulator) -> None:
    client = client_of(officer(), settings)
    sent = form(client, "KRAKEN")
    client.handler.enforce_csrf_checks = True
    assert client.post(URL, sent).status_code == 403
    assert simulator.calls("KRAKEN") == []


@pytest.mark.parametrize(
    ("names", "address"),
    [
        ([], "/cancel-all/"),
        (["KRAKEN"], "/exchanges/1/cancel-all/"),
        (["KRAKEN", "BINANCE"], "/cancel-all/?exchange=1&exchange=2"),
    ],
)
def test_a_process_that_saw_no_failure_leads_to_the_confirmation_of_the_console(
    olga: Client, names: list[str], address: str
) -> None:
    forget_failure()
    response = olga.get(URL, {"exchange": names})
    assert (response.status_code, response["Location"]) == (303, address)
    unanswered = olga.get(URL, {"exchange": names, "unanswered": "1"})
    assert (unanswered.status_code, bool(key_in(unanswered))) == (200, True)


def test_a_flood_is_refused_and_a_first_press_never(olga: Client, simulator: Simulator) -> None:
    for name in ("KRAKEN", "BINANCE"):
        simulator.script(name, cancel=[{"fault": "ok", "repeat": True}], orders=1)
    statuses = [olga.post(URL, form(olga, "KRAKEN")).status_code for _ in range(7)]
    assert statuses == [303] * 5 + [429] * 2
    assert olga.post(URL, form(olga, "BINANCE")).status_code == 303


def test_the_limit_forgets_and_ends_a_flood_of_invented_exchanges() -> None:
    now, nonces = 0.0, count()
    limit = PressLimit(clock=lambda: now)
    names = [f"E{number}" for number in range(MAX_EXCHANGES)]

    def allows(user_id: int, *ids: str) -> bool:
        return limit.allows(user_id, ids, nonce=str(next(nonces)))

    allowed = [allows(7, "KRAKEN", f"X{turn}", *names) for turn in range(50)]
    assert sum(allowed) == MAX_REQUESTS // (len(names) + 2)
    assert allows(8, "KRAKEN")
    now = LIMIT_WINDOW_S
    assert allows(9, "KRAKEN")
    assert {user: list(counts) for user, counts in limit._presses.items()} == {9: ["KRAKEN"]}
    assert allows(7, "KRAKEN")


def test_a_disk_that_takes_no_line_is_said_and_the_cancel_goes_out(
    olga: Client, simulator: Simulator, home: Path
) -> None:
    simulator.script("KRAKEN", cancel=["ok"], orders=5)
    sent = form(olga, "KRAKEN")
    (home / "break_glass.jsonl").mkdir()  # it can be neither opened nor replaced
    response = olga.post(URL, sent)
    wait_for(lambda: "1 of 1 confirmed" in shown(olga, response), seconds=10)
    assert "No record could be kept of this cancel" in shown(olga, response)
    assert len(simulator.calls("KRAKEN")) == 1
    olga.post(URL, sent)
    assert len(simulator.calls("KRAKEN")) == 1, "a key holds without a journal as well"


def test_a_cancel_is_found_again_where_the_next_one_is_confirmed(
    olga: Client, simulator: Simulator
) -> None:
    simulator.script("KRAKEN", cancel=["ok"], orders=5)
    response = olga.post(URL, form(olga, "KRAKEN"))
    wait_for(lambda: "1 of 1 confirmed" in shown(olga, response), seconds=10)
    for address in (URL, f"{URL}sent/"):
        page = olga.get(address).content.decode()
        assert f'href="{response["Location"]}"' in page
        assert "1 of 1 confirmed" in page


def test_what_the_page_is_printed_for_is_on_it(olga: Client, simulator: Simulator) -> None:
    simulator.script("KRAKEN", cancel=["ok"], orders=5)
    response = olga.post(URL, form(olga, "KRAKEN"))
    uuid = response["Location"].split("/")[-2]
    for words in ("Olga Ray (olga), Risk officer", "Drill: no log", socket.gethostname(), uuid):
        assert words in shown(olga, response)


def test_the_page_of_a_process_that_ended_promises_no_more_cancels(
    olga: Client, simulator: Simulator, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulator.script("KRAKEN", cancel=["ok"], orders=5)
    response = olga.post(URL, form(olga, "KRAKEN"))
    wait_for(lambda: "1 of 1 confirmed" in shown(olga, response), seconds=10)
    monkeypatch.setattr(press_registry, "PROCESS", PressRegistry())  # as another process sees it
    journal = Journal(home)
    lines = journal.read().lines
    journal.path.write_text(f"{lines[0].text}\n")
    journal._keep_head(lines[0])
    assert "0 of 1 confirmed, 1 running" in shown(olga, response)
    (home / f"{holders.PREFIX}{lines[0].data['holder']}").unlink()
    page = shown(olga, response)
    assert "The process that sent this cancel has ended." in page
    assert 'data-status="UNKNOWN"' in page
    assert "hx-trigger" not in page


def test_an_id_that_the_ems_never_listed_is_not_counted_as_confirmed(
    olga: Client, simulator: Simulator
) -> None:
    simulator.script("KRAKNE", cancel=["ok"], orders=0)
    response = olga.post(URL, form(olga, "KRAKNE"))
    wait_for(lambda: "None open, but never listed by the EMS" in shown(olga, response), seconds=10)
    assert "0 of 1 confirmed, 1 not confirmed" in shown(olga, response)


def test_without_a_session_the_page_of_a_cancel_does_not_say_that_nothing_was_sent(
    olga: Client, simulator: Simulator, settings: Any
) -> None:
    simulator.script("KRAKEN", cancel=["ok"], orders=5)
    address = olga.post(URL, form(olga, "KRAKEN"))["Location"]
    response = client_of(officer(ends_at=0), settings).get(address)
    assert response.status_code == 403
    assert "Nothing was sent" not in response.content.decode()


def test_a_figure_that_is_missing_makes_the_number_of_orders_a_lower_limit(
    olga: Client, home: Path
) -> None:
    page = " ".join(olga.get(URL, {"exchange": ["KRAKEN", "NEW"]}).content.decode().split())
    assert "Cancel all open orders, at least 5, on 2 exchanges without the log?" in page


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["KRAKEN", "BINANCE"]),
        ("?exchange=2&selection=1&retry_of=x&reason=Drill&hold=hold", ["BINANCE"]),
        ("?group=3", ["BINANCE"]),
        ("?exchangee=2", []),
        ("?selection=1", []),
        ("?exchange=x", []),
        ("?group=3&exchange=1", []),
        ("?group=3&group=4", []),
        ("?group=x", []),
    ],
)
def test_a_mistyped_address_never_offers_a_cancel_on_all_exchanges(
    query: str, expected: list[str], rf: RequestFactory
) -> None:
    request = rf.get(f"/cancel-all/{query}")
    assert list(Question.of_failed_page(request).exchange_ids) == expected
