"""The telephone cards: what they show, their copy, and the calls that are recorded on them."""

import json
import os
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import Client

from killswitch.accounts.models import Role, User
from killswitch.audit.models import AuditEvent, EventKind
from killswitch.audit.verification.verify import verify
from killswitch.break_glass.telephone import html_copy
from killswitch.break_glass.telephone.call_form import InvalidTime, parse_time
from killswitch.break_glass.telephone.cards import MAX_ORDERS
from killswitch.break_glass.upkeep import Upkeep
from killswitch.console.poll import CARDS_INTERVAL_S
from killswitch.exchanges.models import Exchange, OpenOrderList
from killswitch.runtime.revisions import current
from tests import factories
from tests.console.conftest import _readiness_without_a_database, compliance, officer, olga
from tests.console.press_helpers import HTMX
from tests.markup import html

__all__ = ["_readiness_without_a_database", "compliance", "officer", "olga"]

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]
CARDS = "/telephone-cards/"
COPY = "/telephone-cards/copy/"
HOSTILE = "<script>alert(1)</script>\u202e"
PHONE = "+44 (20) 7946-0000"


@pytest.fixture(autouse=True)
def host(home: Path, settings: Any) -> Path:
    """A host with an API key that no card may show."""
    settings.EMS_BASE_URL = "https://ems.example"
    settings.EMS_API_KEY = "the-secret-key"
    return home


@pytest.fixture
def kraken() -> Exchange:
    """An exchange with 25 open orders of which a list is stored, and all that a card has."""
    exchange = factories.exchange(
        "KRAKEN",
        orders=MAX_ORDERS + 5,
        emergency_phone=PHONE,
        contact="Night desk",
        member_ids="KS-0042",
        session_ids="KS_FIX_1",
        what_they_ask=f"1. Member ID\n2. {HOSTILE}",
    )
    now = datetime.now(UTC)
    order = dict.fromkeys(("side", "price", "amount_open", "status", "client_order_id"), "")
    order |= {"exchange_order_id": "", "first_seen_at": now.isoformat()}
    assert exchange.seen_at
    orders = [order | {"symbol": f"{HOSTILE}{number}."} for number in range(MAX_ORDERS + 2)]
    OpenOrderList.objects.create(
        configured_exchange=exchange, orders=orders, total=MAX_ORDERS + 5, read_at=exchange.seen_at
    )
    return exchange


@pytest.fixture
def unreachable() -> Iterator[Callable[[], list[str]]]:
    """Return a function that takes the database away, and lists the queries tried since."""
    tried: list[str] = []

    def refuse(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        tried.append(sql)
        raise OperationalError("gone")

    wrapper = connection.execute_wrapper(refuse)

    def take_away() -> list[str]:
        wrapper.__enter__()
        return tried

    yield take_away
    wrapper.__exit__(None, None, None)


def form_of(page: Any) -> dict[str, str]:
    """Return what the only form "I telephoned" of a page sends."""
    form = html(page).partition("data-kept")[2].partition("</form>")[0]
    return dict(re.findall(r'name="(\w+)" value="([^"]*)"', form))


def call(client: Client, exchange: Exchange, **typed: str) -> dict[str, str]:
    """Return what the form of a card sends, filled in."""
    form = form_of(client.get(f"{CARDS}{exchange.pk}/"))
    assert form.keys() >= {"key", "at", "spoke_to", "reference", "note"}
    return form | {"spoke_to": "Ann", "reference": "R-1"} | typed


def calls() -> list[AuditEvent]:
    return list(AuditEvent.objects.filter(kind=str(EventKind.TELEPHONED)))


def card_of(answer: Any, exchange: Exchange) -> str:
    return html(answer).partition(f'id="card-{exchange.pk}"')[2].partition("</article>")[0]


def test_a_card_has_what_the_desk_asks_and_no_more_than_is_known(
    officer: Client, kraken: Exchange
) -> None:
    unread = factories.exchange("NEW", orders=None)
    never_listed = factories.exchange("MISSPELLED", orders=0, enabled=False)
    page = officer.get(CARDS)
    card = card_of(page, kraken)
    for text in ("Night desk", "KS-0042", "KS_FIX_1", "1. Member ID", PHONE):
        assert text in card
    assert 'href="tel:+442079460000"' in card
    assert f"{MAX_ORDERS + 5} open orders</b> as of {kraken.seen_at:%Y-%m-%d %H:%M:%S} UTC" in card
    assert f"The oldest {MAX_ORDERS} are listed, and 5 more are not." in card
    assert f"{MAX_ORDERS - 1}.<" in card
    assert f"{MAX_ORDERS}.<" not in card
    assert "<script" not in card
    assert "&lt;script&gt;alert(1)&lt;/script&gt;\\u202e" in card
    assert "https://ems.example/v1/orders/cancel/all" in card
    assert "$EMS_API_KEY" in card
    for exchange in (unread, never_listed):
        assert "Open orders: not known" in card_of(page, exchange)
    assert "cannot cancel on this exchange" in card_of(page, never_listed)
    assert html(officer.get(f"{CARDS}{kraken.pk}/")).count("<article") == 1
    assert officer.get(f"{CARDS}{kraken.pk + 99}/").status_code == 404


def test_a_list_older_than_the_figure_says_so(officer: Client, kraken: Exchange) -> None:
    factories.change(kraken, open_orders=0, seen_at=datetime.now(UTC) + timedelta(seconds=1))
    card = card_of(officer.get(CARDS), kraken)
    assert "0 open orders</b>" in card
    assert "A newer figure has been read than the orders themselves" in card


@pytest.mark.parametrize("role", [Role.COMPLIANCE, Role.ADMINISTRATOR])
def test_other_roles_see_the_cards_without_commands_and_record_nothing(
    role: Role, kraken: Exchange
) -> None:
    client = Client(raise_request_exception=False)
    client.force_login(factories.person(role))
    for path in (CARDS, f"{CARDS}{kraken.pk}/", COPY):
        page = html(client.get(path))
        assert "KS-0042" in page
        assert "curl" not in page
        assert "I telephoned" not in page
    answer = client.post(f"{CARDS}{kraken.pk}/telephoned/", {"spoke_to": "Ann"})
    assert answer.status_code == 403
    assert calls() == []


def test_an_open_page_gets_what_has_changed_and_the_times_of_the_rest(
    officer: Client, kraken: Exchange
) -> None:
    other = factories.exchange("OTHER", orders=7)
    page = html(officer.get(CARDS))
    shown = re.search(r'name="show" value="cards:0:(\d+):(\d+)"', page)
    assert shown
    revision, at = map(int, shown.groups())

    def poll(*, pk: int = 0, after_s: int = CARDS_INTERVAL_S) -> Any:
        name = f"cards:{pk}:{revision}:{at - after_s}"
        fields: dict[str, Any] = {"show": name, "known": current()}
        return officer.get("/poll/", fields, headers=HTMX)

    factories.change(kraken, emergency_phone="999")
    assert poll(after_s=0).status_code == 204
    part = html(poll())
    assert "999" in part
    assert f'id="card-{kraken.pk}"' in part
    assert f'id="card-{other.pk}"' not in part
    assert f'id="card-figure-{other.pk}"' in part
    assert f'value="cards:0:{current()}:' in part
    assert f"card-{kraken.pk}" not in html(poll(pk=other.pk))
    assert poll(after_s=-100).status_code == 200  # the clock was set back


def test_the_copy_needs_no_other_file_and_contains_no_secret(
    officer: Client, kraken: Exchange
) -> None:
    answer = officer.get(COPY)
    assert answer["Content-Disposition"].startswith('attachment; filename="telephone-cards-')
    copy = answer.content.decode()
    assert f"A copy, written {datetime.now(UTC):%Y-%m-%d %H:}" in copy
    assert re.findall(r'\b(?:src|href|action|srcset|data|hx-\w+)="(?!tel:)[^"]*"', copy) == []
    assert re.findall(r"<(?:script|link|img|iframe|form|base|object)\b|@import|url\(", copy) == []
    for secret in ("the-secret-key", "csrfmiddlewaretoken", 'name="key"'):
        assert secret not in copy
    assert "--ink:" in copy
    assert "KS-0042" in copy


def test_the_kept_copy_is_replaced_when_something_has_changed_and_not_otherwise(
    host: Path, officer: Client, kraken: Exchange
) -> None:
    path = host / html_copy.FILE
    keep = Upkeep(host).keep_telephone_cards

    def is_replaced() -> bool:
        before = path.stat().st_ino, path.read_bytes()
        keep()
        return (path.stat().st_ino, path.read_bytes()) != before

    keep()
    assert path.stat().st_mode & 0o777 == 0o600
    assert "curl" in path.read_text()
    assert not is_replaced()
    os.utime(path, (0, 0))
    assert not is_replaced()
    os.utime(path)
    # A figure alone: at most once a minute.
    factories.change(kraken, open_orders=3)
    assert not is_replaced()
    os.utime(path, (0, 0))
    assert is_replaced()
    assert "3 open orders" in path.read_text()
    # What administrators enter, a call, a new exchange: at once.
    factories.change(kraken, emergency_phone="999")
    assert is_replaced()
    officer.post(f"{CARDS}{kraken.pk}/telephoned/", call(officer, kraken))
    assert is_replaced()
    factories.exchange("NEW")
    assert is_replaced()
    assert not is_replaced()
    for content in (b"", path.read_bytes().replace(b"KS-0042", b"KS-6666")):
        path.write_bytes(content)
        assert is_replaced()


def test_without_the_database_a_known_officer_gets_the_kept_copy(
    officer: Client, host: Path, kraken: Exchange, unreachable: Callable[[], list[str]]
) -> None:
    Upkeep(host).keep_telephone_cards()
    officer.get("/")  # which makes the browser known
    queries = unreachable()
    for path in (CARDS, f"{CARDS}{kraken.pk}/"):
        queries.clear()
        page = officer.get(path)
        assert page.status_code == 200
        assert "The database is unavailable." in html(page)
        assert "KS-0042" in html(page)
        assert "<style" not in html(page)
        assert "no-store" in page["Cache-Control"]
        assert len(queries) == 1  # which failed
    copy = officer.get(COPY)
    assert copy.content == (host / html_copy.FILE).read_bytes()
    kept = host / html_copy.FILE
    kept.write_bytes(copy.content.replace(b"KS-0042", b"KS-6666"))
    assert officer.get(CARDS).status_code == 503
    kept.unlink()
    os.mkfifo(kept)
    page = officer.get(CARDS)
    assert page.status_code == 503
    assert "no readable copy" in html(page)


@pytest.mark.usefixtures("kraken")
def test_without_the_database_others_are_refused(
    officer: Client, compliance: Client, settings: Any, unreachable: Callable[[], list[str]]
) -> None:
    Upkeep(settings.KILLSWITCH_HOME).keep_telephone_cards()
    officer.get("/")
    compliance.get("/")
    forged = Client()
    forged.cookies[settings.SESSION_COOKIE_NAME] = "a" * 32
    stolen = Client()
    stolen.cookies[settings.OFFICER_COOKIE_NAME] = officer.cookies[settings.OFFICER_COOKIE_NAME]
    stolen.cookies[settings.SESSION_COOKIE_NAME] = "a" * 32
    unreachable()
    for browser in (compliance, forged, stolen):
        for path in (CARDS, COPY):
            page = browser.get(path)
            assert page.status_code == 503
            assert "shown only to a risk officer" in html(page)
            assert "KRAKEN" not in html(page)
    assert Client().get(CARDS).status_code == 302  # to sign in


def test_a_call_is_one_event_however_often_it_is_sent(
    officer: Client, olga: User, kraken: Exchange
) -> None:
    form = call(officer, kraken, note="They cancel\n all sessions")
    path = f"{CARDS}{kraken.pk}/telephoned/"
    for _ in range(2):
        assert officer.post(path, form)["Location"] == f"{CARDS}{kraken.pk}/"
    [event] = calls()
    assert (event.actor, event.exchange_id) == (olga.actor.name, "KRAKEN")
    data = json.loads(event.data)
    assert (data["spoke_to"], data["reference"]) == ("Ann", "R-1")
    assert data["note"] == "They cancel  all sessions"
    assert abs(datetime.fromisoformat(data["telephoned_at"]) - event.at) < timedelta(minutes=1)
    page = officer.post(path, form | {"spoke_to": "Ben"})  # another call, after the browser's Back
    assert page.status_code == 409
    assert form_of(page)["spoke_to"] == "Ben"
    later = {"at": f"{datetime.now(UTC) - timedelta(minutes=5):%Y-%m-%d %H:%M}"}
    assert officer.post(path, form | later).status_code == 409
    assert len(calls()) == 1
    officer.post(path, call(officer, kraken, spoke_to=HOSTILE, reference=""))
    assert len(calls()) == 2
    card = card_of(officer.get(CARDS), kraken)
    assert "reference R-1." in card
    assert "no reference." in card
    assert f"Recorded by {olga.actor.name}" in card
    assert "<script" not in card
    assert verify(with_tables=False).ok


def test_a_time_that_cannot_be_right_loses_no_input(officer: Client, kraken: Exchange) -> None:
    path = f"{CARDS}{kraken.pk}/telephoned/"
    page = officer.post(path, call(officer, kraken, at="10:27", note="Kept"))
    assert page.status_code == 422
    assert "Enter day and time in UTC" in html(page)
    form = form_of(page)
    assert (form["at"], form["spoke_to"], form["note"]) == ("10:27", "Ann", "Kept")
    assert calls() == []
    officer.post(path, form | {"at": ""})
    assert len(calls()) == 1


def test_the_time_of_a_call_is_now_or_was() -> None:
    now = datetime(2026, 11, 30, 10, 27, 31, tzinfo=UTC)
    assert parse_time("", now=now) == now
    assert parse_time("2026-11-30 10:28", now=now) == datetime(2026, 11, 30, 10, 28, tzinfo=UTC)
    assert parse_time("2026-11-29T23:05:07", now=now).isoformat() == "2026-11-29T23:05:07+00:00"
    with pytest.raises(InvalidTime, match="in the future: it is 2026-11-30 10:27 UTC now"):
        parse_time("2026-11-30 10:29", now=now)
    with pytest.raises(InvalidTime, match="Check the date"):
        parse_time("2025-11-30 10:20", now=now)
    for text in (
        "yesterday",
        "20261130",
        "2026-W48-1",
        "2026-02-30 10:00",
        "\uff12026-01-01 10:00",
    ):
        with pytest.raises(InvalidTime, match="Enter day and time in UTC"):
            parse_time(text, now=now)


def test_a_key_is_for_its_person_and_its_exchange(
    officer: Client, olga: User, kraken: Exchange
) -> None:
    form = call(officer, factories.exchange("OTHER"))
    page = officer.post(f"{CARDS}{kraken.pk}/telephoned/", form)
    assert page.status_code == 422
    assert "out of date" in html(page)
    assert form_of(page)["spoke_to"] == "Ann"
    peter = Client()
    peter.force_login(factories.person(Role.RISK_OFFICER, username="peter"))
    form = call(officer, kraken)
    assert peter.post(f"{CARDS}{kraken.pk}/telephoned/", form).status_code == 422
    assert calls() == []


def test_too_long_a_note_and_a_missing_name_are_errors(officer: Client, kraken: Exchange) -> None:
    form = call(officer, kraken, spoke_to="\x01 ", note="x" * 501)
    page = html(officer.post(f"{CARDS}{kraken.pk}/telephoned/", form))
    assert "This has 501." in page
    assert "Enter who answered" in page
    assert calls() == []


def test_a_call_that_cannot_be_recorded_is_kept_on_a_page_of_its_own(
    officer: Client, kraken: Exchange, unreachable: Callable[[], list[str]]
) -> None:
    form = call(officer, kraken, note="Kept")
    unreachable()
    page = officer.post(f"{CARDS}{kraken.pk}/telephoned/", form)
    assert page.status_code == 503
    assert "The audit log cannot be written at the moment." in html(page)
    kept = form_of(page)
    assert (kept["key"], kept["spoke_to"], kept["note"]) == (form["key"], "Ann", "Kept")
    assert parse_time(kept["at"], now=datetime.now(UTC))


def test_a_call_after_the_end_of_the_session_is_kept_as_well(
    officer: Client, kraken: Exchange
) -> None:
    form = call(officer, kraken)
    officer.logout()
    page = officer.post(f"{CARDS}{kraken.pk}/telephoned/", form)
    assert page.status_code == 401
    assert form_of(page)["spoke_to"] == "Ann"
    assert "/accounts/login/" in html(page)


def test_a_form_of_another_site_is_refused_and_ours_is_shown_again(
    olga: User, kraken: Exchange
) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(olga)
    form = call(browser, kraken) | {"csrfmiddlewaretoken": "x" * 64}
    page = browser.post(f"{CARDS}{kraken.pk}/telephoned/", form)
    assert page.status_code == 403
    assert form_of(page)["spoke_to"] == "Ann"
    assert calls() == []
