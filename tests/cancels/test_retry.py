"""A retry: who sends it with one click, what it carries, what it is recorded as, when it ends."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core import signing
from django.test import Client

from killswitch.accounts.models import Role, User
from killswitch.audit.descriptions import describe
from killswitch.audit.models import AuditEvent, EventKind
from killswitch.cancels import press_keys
from killswitch.cancels.models import Batch, CancelRequest, Origin
from killswitch.cancels.request_page import RequestPage
from killswitch.cancels.retry import ONE_CLICK_FOR
from killswitch.cancels.states import Status
from killswitch.cancels.view_models import BatchPage
from tests import factories
from tests.console.press_helpers import HTMX, key_in, press, question
from tests.markup import html
from tests.threads import run_at_once

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]

UNKNOWN = "00000000-0000-0000-0000-000000000000"
NO_RETRY = "This will not be recorded as a retry"


@pytest.fixture
def ivan(db: None) -> User:
    """Another risk officer."""
    return factories.person(Role.RISK_OFFICER, username="ivan", full_name="Ivan Roe")


def failed(user: User, *, count: int = 2, ago_s: float = 12, **context: Any) -> Batch:
    """Return a cancel on some exchanges of which all failed."""
    batch = factories.press(user, *factories.exchanges(count), ago_s=ago_s, **context)
    for request in batch.requests.all():
        factories.bring(request, Status.REJECTED)
    return batch


def page_of(client: Client, batch: Batch) -> str:
    return html(client.get(f"/batches/{batch.uuid}/"))


def address_in(page: str) -> str:
    """Return the address of the link to the question."""
    match = re.search(r'<a class="cut" href="([^"]+)">Retry on', page)
    assert match, page
    return match[1].replace("&amp;", "&")


def action_in(page: str) -> str:
    """Return the address of the form that retries at once."""
    match = re.search(r'<form class="again js-only" method="post" action="([^"]+)"', page)
    assert match, page
    return match[1].replace("&amp;", "&")


def test_ones_own_cancel_of_the_last_minutes_is_retried_with_one_click(
    officer: Client, olga: User
) -> None:
    batch = failed(olga, reason="Drill: of May", hold=True)
    page = page_of(officer, batch)
    fields = {"key": key_in(page), "gesture": "retry", "reason": "Drill: of May", "hold": "hold"}
    assert 'name="reason" value="Drill: of May"' in page
    assert officer.post(action_in(page), fields, headers=HTMX).status_code == 202
    again = Batch.objects.latest("id")
    assert (again.retry_of, again.reason, again.hold) == (batch, "Drill: of May", True)
    # A double click, another window and a page that was loaded again are the same press.
    assert "Already requested" in html(officer.post(action_in(page), fields, headers=HTMX))
    assert Batch.objects.count() == 2


def test_two_windows_offer_the_same_retry(officer: Client, olga: User) -> None:
    batch = failed(olga)
    pages = [page_of(officer, batch) for _ in range(2)]
    for page in pages:
        officer.post(action_in(page), {"key": key_in(page)}, headers=HTMX)
    assert batch.retries.count() == 1


@pytest.mark.parametrize("why", ["another person", "old", "clock ahead", "hold"])
def test_any_other_cancel_is_asked_about_first(
    officer: Client, olga: User, ivan: User, why: str
) -> None:
    user = ivan if why == "another person" else olga
    ago_s = {"old": ONE_CLICK_FOR.total_seconds() + 1, "clock ahead": -60}.get(why, 12)
    batch = failed(user, reason="Limit breach", hold=True, ago_s=ago_s)
    if why == "hold":
        Batch.objects.update(by=None, by_name="system", origin=Origin.HOLD)
    page = page_of(officer, batch)
    assert "Retry now" not in page
    assert "Retry on these 2 exchanges…" in page
    asked = question(officer, address_in(page))
    assert "on 2 exchanges?" in asked
    assert f"cancel of {batch.asked_at:%H:%M:%S}" in asked
    is_own = why in {"old", "clock ahead"}
    assert ("<option selected>Limit breach</option>" in asked) == is_own
    assert ('value="hold" checked' in asked) == is_own
    path = address_in(page)
    officer.post(path, {"key": key_in(asked)})
    assert Batch.objects.latest("id").retry_of == batch


def test_a_button_that_has_become_too_old_asks_and_still_finds_what_it_sent(
    officer: Client, olga: User
) -> None:
    """The page stayed open; or its answer was lost, and it is sent again much later."""
    batch = failed(olga)
    retry = BatchPage.of(batch, user=olga).retry
    assert retry
    keys = [
        press_keys.make(
            user_id=olga.pk,
            target=retry.signed_text,
            nonce="the same press",
            valid_until=datetime.now(UTC) + timedelta(minutes=minutes),
        )
        for minutes in (-1, 1)
    ]
    late, in_time = ({"key": key, "reason": "Drill"} for key in keys)
    path = action_in(page_of(officer, batch))
    answer = officer.post(path, late, headers=HTMX)
    assert answer.status_code == 409
    assert "too old to retry without confirmation" in html(answer)
    assert "<option selected>Drill</option>" in html(answer)
    assert Batch.objects.count() == 1
    assert officer.post(path, in_time, headers=HTMX).status_code == 202
    answer = officer.post(path, late, headers=HTMX)
    assert answer.status_code == 202
    assert "Already requested" in html(answer)
    assert Batch.objects.count() == 2


def test_the_one_click_key_ends_five_minutes_after_the_cancel(olga: User) -> None:
    batch = failed(olga)
    *_, valid_until = signing.loads(BatchPage.of(batch, user=olga).offer.key, salt=press_keys.SALT)
    assert valid_until == (batch.asked_at + timedelta(minutes=5)).timestamp()


def test_a_retry_is_recorded_shown_on_both_pages_and_in_the_log(
    officer: Client, olga: User, ivan: User
) -> None:
    batch = failed(ivan)
    press(officer, address_in(page_of(officer, batch)))
    again = Batch.objects.latest("id")
    events = AuditEvent.objects.filter(kind=EventKind.REQUESTED).order_by("-seq")[:2]
    assert {json.loads(event.data)["retry_of"] for event in events} == {str(batch.uuid)}
    assert f"Retry of the cancel {batch.uuid}." in describe(events[0])
    link = f'<a href="/batches/{batch.uuid}/">cancel of {batch.asked_at:%H:%M:%S} by Ivan Roe</a>'
    followed = f'<a href="/batches/{again.uuid}/"> {again.asked_at:%H:%M:%S} by Olga Ray</a>'
    for new in (f"/batches/{again.uuid}/", f"/requests/{again.requests.all()[0].uuid}/"):
        assert link in html(officer.get(new))
    for old in (f"/batches/{batch.uuid}/", f"/requests/{batch.requests.all()[0].uuid}/"):
        page = html(officer.get(old))
        assert f"<b>Retried</b> at {followed}" in page
        assert "Retry on" not in page


@pytest.mark.parametrize("by", ["olga", "ivan", "retry", "hold"])
def test_an_exchange_with_a_later_request_is_not_offered_any_more(
    officer: Client, olga: User, ivan: User, by: str
) -> None:
    batch = failed(olga)
    first, second = batch.requests.order_by("id")
    later = factories.press(ivan if by == "ivan" else olga, first.configured_exchange)
    if by == "retry":
        Batch.objects.filter(pk=later.pk).update(retry_of=batch)
    if by == "hold":
        Batch.objects.filter(pk=later.pk).update(by=None, origin=Origin.HOLD)
    retry = BatchPage.of(batch, user=olga).retry
    assert retry
    assert retry.exchanges == (second.configured_exchange,)
    offers = [RequestPage.of(request, user=olga).offer for request in (first, second)]
    retries, others = ([later], []) if by == "retry" else ([], [later])
    assert [(list(offer.retries), list(offer.later)) for offer in offers] == [
        (retries, others),
        ([], []),
    ]
    factories.press(ivan, second.configured_exchange)
    page = page_of(officer, batch)
    assert "Retry now" not in page
    assert "Retry on" not in page
    assert "<b>Another cancel was requested since:</b>" in page
    assert ("<b>Retried</b> at" in page) == (by == "retry")


def test_only_exchanges_that_failed_and_are_enabled_are_offered(
    officer: Client, olga: User
) -> None:
    batch = factories.press(olga, *factories.exchanges(3))
    confirmed, disabled, enabled = batch.requests.order_by("id")
    factories.bring(confirmed, Status.CONFIRMED)
    for request in (disabled, enabled):
        factories.bring(request, Status.REJECTED)
    factories.change(disabled.configured_exchange, enabled=False)
    offer = BatchPage.of(batch, user=olga).offer
    assert offer.target
    assert offer.target.exchanges == (enabled.configured_exchange,)
    assert not offer.hold
    assert (offer.later, offer.retries) == ([], [])
    factories.change(enabled.configured_exchange, enabled=False)
    assert BatchPage.of(batch, user=olga).offer.address == ""
    page = page_of(officer, batch)
    assert "Retry now" not in page
    assert "Retry on" not in page


def test_an_open_page_learns_that_another_person_has_retried(
    officer: Client, olga: User, ivan: User
) -> None:
    batch = failed(olga, count=1)
    request = batch.requests.get()
    revision = CancelRequest.objects.latest("revision").revision
    factories.press(ivan, request.configured_exchange)
    for part in (f"batch:{batch.uuid}", f"dialog:{batch.uuid}", f"request:{request.uuid}"):
        answer = html(officer.get(f"/poll/?known={revision}&show={part}"))
        assert "<b>Another cancel was requested since:</b>" in answer
        assert "Retry now" not in answer


@pytest.mark.parametrize("named", [UNKNOWN, "x", "", "two", "\x00", "of another exchange"])
def test_a_wrong_retry_of_refuses_no_kill_and_is_not_recorded(
    officer: Client, olga: User, named: str
) -> None:
    batch = failed(olga, count=1)
    exchange = factories.exchange("KRAKEN", orders=4)
    values = [str(batch.uuid), UNKNOWN] if named == "two" else [named]
    if named == "of another exchange":
        values = [str(batch.uuid)]
    path = "/cancel-all/"
    data: dict[str, Any] = {"exchange": exchange.pk, "retry_of": values}
    asked = officer.get(path, data)
    assert asked.status_code == 200
    assert NO_RETRY in html(asked)
    assert 'action="/exchanges/' in html(asked)
    answer = officer.post(
        f"{path}?{asked.request['QUERY_STRING']}", {"key": key_in(html(asked))}, headers=HTMX
    )
    assert answer.status_code == 202
    again = Batch.objects.latest("id")
    assert (again.retry_of, again.requests.get().exchange_id) == (None, "KRAKEN")


def test_the_link_of_an_alarm_asks_and_records_a_retry(
    officer: Client, olga: User, ivan: User
) -> None:
    batch = failed(ivan, count=3)
    pk = batch.requests.all()[0].configured_exchange_id
    path = f"/cancel-all/?exchange={pk}&retry_of={batch.uuid}"
    assert NO_RETRY not in question(officer, path)
    assert press(officer, path).status_code == 202
    assert Batch.objects.latest("id").retry_of == batch


def test_a_session_that_has_ended_leads_back_to_the_same_retry(olga: User) -> None:
    batch = failed(olga, count=1)
    path = f"/cancel-all/?exchange={batch.requests.get().configured_exchange_id}"
    answer = Client().post(f"{path}&retry_of={batch.uuid}", {"reason": "Drill"}, headers=HTMX)
    assert f"retry_of%3D{batch.uuid}" in answer["X-Sign-In"]


def test_without_scripts_the_question_comes_first(officer: Client, olga: User) -> None:
    """The form is for scripts only; its neighbour leads to the page with the question."""
    page = page_of(officer, failed(olga, reason="Drill"))
    assert '<p class="no-js"><a class="cut" href="/cancel-all/?' in page
    assert "<option selected>Drill</option>" in question(officer, address_in(page))
    assert 'hx-post="/cancel-all/' in page


@pytest.mark.parametrize("path", ["batches", "requests"])
def test_orders_that_are_open_since_are_shown_with_their_age(
    officer: Client, olga: User, path: str
) -> None:
    exchange = factories.exchange("KRAKEN", orders=5)
    request = factories.bring(factories.press(olga, exchange).requests.get(), Status.RESIDUAL)
    exchange.refresh_from_db()
    factories.change(exchange, open_orders=14)
    uuid = request.batch.uuid if path == "batches" else request.uuid
    as_of = f"as of {exchange.seen_at:%H:%M:%S}"
    assert f"New orders since:</b> KRAKEN (11, {as_of})." in html(officer.get(f"/{path}/{uuid}/"))
    # They belong to the newest cancel.
    factories.press(olga, exchange)
    assert "New orders since" not in html(officer.get(f"/{path}/{uuid}/"))


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("unpublished")
def test_two_officers_who_retry_at_once_send_one_cancel_each(
    officer: Client, olga: User, ivan: User
) -> None:
    """Each of them is told the truth: a second cancel costs nothing, a lost one costs money."""
    batch = failed(olga)
    window, other = Client(), Client()
    window.force_login(olga)
    other.force_login(ivan)
    mine = page_of(officer, batch)
    path = address_in(page_of(other, batch))
    key = key_in(question(other, path))
    answers = run_at_once(
        lambda: officer.post(action_in(mine), {"key": key_in(mine)}, headers=HTMX),
        lambda: window.post(action_in(mine), {"key": key_in(mine)}, headers=HTMX),
        lambda: other.post(path, {"key": key}, headers=HTMX),
    )
    assert [answer.status_code for answer in answers] == [202] * 3
    retries = list(batch.retries.order_by("by__username"))
    assert [retry.by for retry in retries] == [ivan, olga]
    assert all(retry.requests.count() == 2 for retry in retries)
    assert AuditEvent.objects.filter(kind=EventKind.REQUESTED).count() == 6
