"""Releasing a Hold: what each of two people sees, and every refusal, which changes nothing."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from killswitch.accounts.models import User
from killswitch.audit.models import AuditEvent, EventKind
from killswitch.exchanges.models import Exchange
from killswitch.holds.models import Hold, HoldState
from tests import factories
from tests.failures import commit_without_answer, commits, full_log
from tests.holds import holding
from tests.markup import html

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]


def path(exchange: Exchange) -> str:
    return f"/exchanges/{exchange.pk}/release/"


def shown(client: Client, exchange: Exchange) -> str:
    answer = client.get(path(exchange))
    assert answer.status_code == 200
    assert "no-store" in answer["Cache-Control"]
    return html(answer)


def form(page: str, act: str) -> dict[str, str]:
    """Return the fields of the form that does this, as the page holds them."""
    for text in re.findall(r"<form.*?</form>", page):
        fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', text))
        if fields.get("act") == act:
            return {name: value for name, value in fields.items() if name != "csrfmiddlewaretoken"}
    raise AssertionError(f"no form does {act}")


def state_of(hold: Hold) -> tuple[Any, ...]:
    hold.refresh_from_db()
    return (hold.state, hold.release_requested_at, hold.released_at, AuditEvent.objects.count())


def test_it_shows_what_is_open_the_episodes_and_who_holds_it_and_why(
    officer: Client, olga: User, kraken: Exchange
) -> None:
    holding.with_orders(holding.start(olga, kraken, reason="Runaway algorithm: strategy 7"))
    page = shown(officer, kraken)
    assert "14 open orders</b> on KRAKEN" in page
    assert "Olga Ray (olga)" in page
    assert "Runaway algorithm: strategy 7" in page
    assert "16 gone after a cancel: cancelled or filled" in page
    assert "order last seen" in page
    assert "Another risk officer must confirm it within 15 minutes" in page
    assert "It does not block new orders" in page
    assert "hx-post" not in page.split('class="card pad releasing"')[1].split("</main>")[0]


def test_one_requests_and_another_releases(
    officer: Client, second_officer: Client, olga: User, kraken: Exchange
) -> None:
    hold = holding.start(olga, kraken)
    fields = form(shown(officer, kraken), "request") | {"reason": "strategy 7 was stopped"}
    answer = officer.post(path(kraken), fields)
    assert (answer.status_code, answer["Location"]) == (303, path(kraken))
    own = shown(officer, kraken)
    assert "Another risk officer must confirm this release" in own
    hold.refresh_from_db()
    until = holding.ends_at(hold)
    assert f"until <b>{until:%H:%M:%S} UTC</b>" in own
    with pytest.raises(AssertionError, match="no form does confirm"):
        form(own, "confirm")
    other = shown(second_officer, kraken)
    assert "Olga Ray has requested this release" in other
    assert "“strategy 7 was stopped”" in other
    assert "Reject the request" in other
    assert second_officer.post(path(kraken), form(other, "confirm")).status_code == 303
    hold.refresh_from_db()
    assert (hold.state, hold.released_by) == (HoldState.RELEASED, "Ivan Petrov (ivan)")
    page = shown(officer, kraken)
    assert "<code>KRAKEN</code> is not held" in page
    assert "by Ivan Petrov (ivan)" in page
    assert "<form" not in page.split('class="card pad releasing"')[1].split("</main>")[0]


@pytest.mark.parametrize("withdraws", ["requester", "other"])
def test_either_may_keep_holding(
    officer: Client, second_officer: Client, olga: User, kraken: Exchange, withdraws: str
) -> None:
    hold = holding.request_release(holding.start(olga, kraken), olga)
    client = officer if withdraws == "requester" else second_officer
    page = shown(client, kraken)
    assert ("Withdraw the request" in page) == (withdraws == "requester")
    assert client.post(path(kraken), form(page, "withdraw")).status_code == 303
    hold.refresh_from_db()
    assert (hold.state, hold.release_requested_at) == (HoldState.ACTIVE, None)
    assert form(shown(client, kraken), "request")


def test_the_same_person_is_refused_with_the_form_of_the_other(
    officer: Client, second_officer: Client, olga: User, kraken: Exchange
) -> None:
    hold = holding.request_release(holding.start(olga, kraken), olga)
    fields = form(shown(second_officer, kraken), "confirm")
    before = state_of(hold)
    answer = officer.post(path(kraken), fields)
    assert answer.status_code == 403
    assert "Another risk officer must confirm it. Nothing was changed: KRAKEN is still held." in (
        html(answer)
    )
    assert state_of(hold) == before


@pytest.mark.parametrize("reason", ["", "   ", "\x00\x07", "\u200b", "\u00a0\u2060\ufe0f"])
def test_a_release_without_a_reason_is_refused(
    officer: Client, olga: User, kraken: Exchange, reason: str
) -> None:
    hold = holding.start(olga, kraken)
    before = state_of(hold)
    fields = form(shown(officer, kraken), "request")
    answer = officer.post(path(kraken), fields | {"reason": reason})
    assert answer.status_code == 400
    assert "Enter a reason. Nothing was changed: KRAKEN is still held." in html(answer)
    assert state_of(hold) == before


@pytest.mark.parametrize("act", ["request", "confirm", "withdraw", "nonsense"])
def test_what_is_not_held_cannot_be_released(
    officer: Client, second_officer: Client, olga: User, kraken: Exchange, act: str
) -> None:
    never = officer.post(path(kraken), {"act": act, "reason": "x"})
    assert never.status_code == 409
    assert "KRAKEN is not held, or is no longer held. Nothing was changed." in html(never)
    assert "<code>KRAKEN</code> is not held" in shown(officer, kraken)
    holding.request_release(holding.start(olga, kraken), olga)
    page = shown(second_officer, kraken)
    second_officer.post(path(kraken), form(page, "confirm"))
    again = second_officer.post(path(kraken), form(page, "confirm"))
    assert again.status_code == 409
    assert "KRAKEN is not held" in html(again)
    assert Hold.objects.count() == 1


def test_a_second_request_is_refused(second_officer: Client, olga: User, kraken: Exchange) -> None:
    hold = holding.start(olga, kraken)
    fields = form(shown(second_officer, kraken), "request") | {"reason": "mine"}
    holding.request_release(hold, olga)
    before = state_of(hold)
    answer = second_officer.post(path(kraken), fields)
    assert answer.status_code == 409
    assert "The release was already requested. Nothing was changed" in html(answer)
    assert state_of(hold) == before


@pytest.mark.parametrize("act", ["confirm", "withdraw"])
@pytest.mark.parametrize(
    "requested_at",
    ["", None, "nonsense", "2026-02-30T10:00:00+00:00", "2020-01-01T10:00:00", "\x00", "earlier"],
)
def test_only_the_request_that_the_page_showed_is_confirmed_or_withdrawn(
    second_officer: Client, olga: User, kraken: Exchange, act: str, requested_at: str | None
) -> None:
    hold = holding.request_release(holding.start(olga, kraken), olga)
    stale = form(shown(second_officer, kraken), act)
    if requested_at != "earlier":
        stale["requested_at"] = requested_at or ""
    if requested_at is None:
        del stale["requested_at"]
    second_officer.post(path(kraken), form(shown(second_officer, kraken), "withdraw"))
    hold.refresh_from_db()
    holding.request_release(hold, olga, reason="another one")
    before = state_of(hold)
    answer = second_officer.post(path(kraken), stale)
    assert answer.status_code == 409
    assert "That release request was withdrawn, lapsed or replaced." in html(answer)
    assert state_of(hold) == before


def test_a_page_of_an_earlier_hold_releases_no_later_one(
    officer: Client, second_officer: Client, olga: User, kraken: Exchange
) -> None:
    holding.start(olga, kraken)
    stale = form(shown(officer, kraken), "request") | {"reason": "stopped"}
    officer.post(path(kraken), stale)
    second_officer.post(path(kraken), form(shown(second_officer, kraken), "confirm"))
    later = holding.start(olga, kraken)
    before = state_of(later)
    answer = officer.post(path(kraken), stale)
    assert answer.status_code == 409
    assert "Your page showed an earlier Hold." in html(answer)
    assert state_of(later) == before


def test_after_15_minutes_it_has_lapsed_and_is_offered_no_more(
    second_officer: Client, olga: User, kraken: Exchange
) -> None:
    hold = holding.request_release(holding.start(olga, kraken), olga)
    page = shown(second_officer, kraken)
    holding.let_lapse(hold)
    fresh = shown(second_officer, kraken)
    assert form(fresh, "request")
    assert "has requested this release" not in fresh
    stale = form(page, "confirm") | {"requested_at": hold.release_requested_at.isoformat()}  # type: ignore[union-attr]
    answer = second_officer.post(path(kraken), stale)
    assert answer.status_code == 409
    assert "was not confirmed within 15 minutes, so it has lapsed. KRAKEN is still held." in (
        html(answer)
    )
    hold.refresh_from_db()
    assert hold.state == HoldState.ACTIVE
    assert AuditEvent.objects.filter(kind=EventKind.HOLD_RELEASE_LAPSED).count() == 1


@pytest.mark.parametrize("act", ["", "release", "REQUEST", "\x00"])
def test_a_form_that_names_no_act_changes_nothing(
    officer: Client, olga: User, kraken: Exchange, act: str
) -> None:
    hold = holding.start(olga, kraken)
    before = state_of(hold)
    answer = officer.post(path(kraken), {"act": act, "hold": str(hold.uuid), "reason": "x"})
    assert answer.status_code == 400
    assert "The form was incomplete or invalid. Nothing was changed: KRAKEN is still held." in html(
        answer
    )
    assert state_of(hold) == before


@pytest.mark.parametrize("act", ["request", "confirm", "withdraw"])
@pytest.mark.parametrize("name", ["act", "hold", "requested_at"])
def test_a_form_with_a_field_twice_or_without_its_hold_changes_nothing(
    second_officer: Client, olga: User, kraken: Exchange, act: str, name: str
) -> None:
    hold = holding.start(olga, kraken)
    if act != "request":
        holding.request_release(hold, olga)
    fields = form(shown(second_officer, kraken), act) | {"reason": "stopped"}
    before = state_of(hold)
    lacking = {key: value for key, value in fields.items() if key != "hold"}
    for data in (fields | {name: [fields[name], fields[name]]}, lacking, lacking | {"hold": ""}):
        answer = second_officer.post(path(kraken), data)
        assert answer.status_code == 400
        assert "The form was incomplete or invalid. Nothing was changed" in html(answer)
        assert state_of(hold) == before
    assert second_officer.post(path(kraken), fields).status_code == 303


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, r"last read \d+ (s|ms) ago"),
        ({"last_read_at": None, "started_at": "old"}, r"not enforced\? never read by the Hold"),
        ({"last_read_at": "old"}, r"not enforced\? last read 2\d s ago"),
        ({"last_read_at": "old", "blind_since": "old"}, r"last read 2\d s ago"),
    ],
)
def test_without_scripts_it_says_how_old_the_list_is(
    officer: Client, olga: User, kraken: Exchange, fields: dict[str, Any], words: str
) -> None:
    old = timezone.now() - timedelta(seconds=25)
    times: dict[str, Any] = {name: old if value else None for name, value in fields.items()}
    holding.start(olga, kraken, **times)
    for page in (shown(officer, kraken), html(officer.get(f"/exchanges/{kraken.pk}/"))):
        text = re.search(r"<span data-hold-read[^>]*>(.*?)</span>", page)
        assert text
        assert re.fullmatch(words, text[1].strip()), text[1]


def test_at_a_desk_of_one_a_reason_releases_at_once(
    officer: Client, olga: User, kraken: Exchange, settings: Any
) -> None:
    settings.HOLD_RELEASE_PERSONS = 1
    hold = holding.start(olga, kraken)
    page = shown(officer, kraken)
    assert "One risk officer is enough here (HOLD_RELEASE_PERSONS=1)." in page
    answer = officer.post(path(kraken), form(page, "request") | {"reason": "stopped"})
    assert answer.status_code == 303
    hold.refresh_from_db()
    assert hold.state == HoldState.RELEASED


def test_a_release_that_cannot_be_recorded_releases_nothing(
    officer: Client, second_officer: Client, olga: User, kraken: Exchange
) -> None:
    hold = holding.request_release(holding.start(olga, kraken), olga)
    fields = form(shown(second_officer, kraken), "confirm")
    before = state_of(hold)
    with full_log():
        answer = second_officer.post(path(kraken), fields)
    assert (answer.status_code, answer["X-Recorded"]) == (503, "no")
    assert "The release could not be recorded, so nothing was released." in html(answer)
    assert state_of(hold) == before


@pytest.mark.django_db(transaction=True)
def test_a_release_without_an_answer_of_the_database_is_looked_up(
    second_officer: Client, olga: User, kraken: Exchange
) -> None:
    hold = holding.request_release(holding.start(olga, kraken), olga)
    fields = form(shown(second_officer, kraken), "confirm")
    with commits(commit_without_answer):
        answer = second_officer.post(path(kraken), fields)
    assert answer.status_code == 303
    assert "is not held" in shown(second_officer, kraken)
    hold.refresh_from_db()
    assert hold.state == HoldState.RELEASED


def test_an_old_token_changes_nothing_and_keeps_the_reason(olga: User, kraken: Exchange) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(olga)
    hold = holding.start(olga, kraken)
    before = state_of(hold)
    answer = strict.post(path(kraken), {"act": "request", "reason": "strategy 7 was stopped"})
    assert answer.status_code == 403
    assert "so nothing was changed. Check it again before you decide." in html(answer)
    assert 'value="strategy 7 was stopped"' in html(answer)
    assert state_of(hold) == before


def test_foreign_words_do_not_become_markup(officer: Client, olga: User) -> None:
    nasty = "<script>alert(1)</script>"
    exchange = factories.exchange(nasty, name=nasty)
    hold = holding.start(olga, exchange, reason=nasty, read_error=nasty)
    holding.request_release(hold, olga, reason=nasty)
    factories.change(hold, blind_since=hold.started_at)
    for page in (path(exchange), f"/exchanges/{exchange.pk}/hold/", "/"):
        text = html(officer.get(page))
        assert nasty not in text
        assert "&lt;script&gt;" in text
