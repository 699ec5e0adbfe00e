"""Break glass in the browser. No test here has a database: any query fails it."""

import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core import signing
from django.test import Client

from killswitch.accounts import officer_cookie
from killswitch.accounts.models import Role
from killswitch.accounts.officer_cookie import KnownOfficer
from killswitch.break_glass import exchange_snapshot, holders, outage, running, views
from killswitch.break_glass.exchange_snapshot import KnownExchange, Snapshot
from killswitch.break_glass.journal import Journal
from killswitch.break_glass.journal_record import TimedJournal
from killswitch.break_glass.press_limit import PressLimit
from killswitch.simulator.server import Simulator
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
    monkeypatch.setattr(views, "_limit", PressLimit())
    monkeypatch.setattr(views, "_journal", TimedJournal(Journal(home)))
    outage.note_failure()
    yield
    outage.forget()


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
    response = olga.post(URL, form(olga, "KRAKEN", "BINANCE") | {"everywhere": "1"})
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


@pytest.mark.parametrize("key", ["", "x"])
def test_without_a_key_nothing_is_sent_and_the_question_comes_again(
    olga: Client, simulator: Simulator, key: str
) -> None:
    response = olga.post(URL, form(olga, "KRAKEN") | {"key": key})
    assert response.status_code == 400
    assert "no cancel was sent" in response.content.decode()
    assert key_in(response)
    assert simulator.calls("KRAKEN") == []


def test_a_key_is_for_its_person_and_its_exchanges(
    olga: Client, simulator: Simulator, settings: Any
) -> None:
    sent = form(olga, "KRAKEN")
    other = client_of(officer(user_id=8), settings)
    assert other.post(URL, sent).status_code == 400
    assert olga.post(URL, sent | {"exchange": "BINANCE"}).status_code == 400
    assert simulator.calls("KRAKEN") == simulator.calls("BINANCE") == []


def test_two_presses_with_one_key_are_one(
    olga: Client, simulator: Simulator, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    simulator.script("KRAKEN", cancel=["ok"], orders=5)
    sent = form(olga, "KRAKEN")
    first, second = olga.post(URL, sent), olga.post(URL, sent)
    assert first["Location"] == second["Location"]
    # In another process, only the journal knows of it.
    monkeypatch.setattr(running, "_starts", {})
    monkeypatch.setattr(running, "_presses", {})
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
    outage.forget()
    response = olga.get(URL, {"exchange": names})
    assert (response.status_code, response["Location"]) == (303, address)


def test_a_flood_is_refused_and_a_first_press_never(olga: Client, simulator: Simulator) -> None:
    for name in ("KRAKEN", "BINANCE"):
        simulator.script(name, cancel=[{"fault": "ok", "repeat": True}], orders=1)
    statuses = [olga.post(URL, form(olga, "KRAKEN")).status_code for _ in range(7)]
    assert statuses == [303] * 5 + [429] * 2
    assert olga.post(URL, form(olga, "BINANCE")).status_code == 303


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
    monkeypatch.setattr(running, "_presses", {})  # as another process sees it
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
