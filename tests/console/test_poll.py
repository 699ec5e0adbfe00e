"""The one poller: 204 without changes, and only the changed parts otherwise."""

import re
from typing import Any

import pytest
from django.db import connection
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext

from killswitch.accounts.models import User
from killswitch.alarms.models import Alarm
from killswitch.audit.models import AuditEvent
from killswitch.cancels.models import CancelRequest
from killswitch.cancels.services import complete_reason
from killswitch.cancels.states import Status
from killswitch.console.poll import answer
from killswitch.exchanges.models import Observation, UncoveredExchange
from killswitch.runtime.filter_values import PAGE_SIZES
from killswitch.runtime.revisions import current, mark_restore, next_revision
from tests import factories
from tests.browser import scenes
from tests.console.press_helpers import HTMX
from tests.markup import html

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]


# What comes with every changed row.
PANELS = ("kill-bar", "everywhere", "uncovered", "attention", "groups")


def poll(client: Client, *shown: str, known: int | str | None = None) -> Any:
    newest = current() if known is None else known
    fields: dict[str, Any] = {"show": shown, "known": newest}
    return client.get("/poll/", fields, headers=HTMX)


def ids(answer: Any) -> list[str]:
    """The ids of the parts in an answer, in their order."""
    return re.findall(r'<template><\w+[^>]*?\bid="([^"]+)"', html(answer))


def test_an_idle_console_gets_nothing_for_three_queries(officer: Client, olga: User) -> None:
    scenes.console(olga)
    with CaptureQueriesContext(connection) as queries:
        answer = poll(officer, "console", known=current())
    assert (answer.status_code, answer.content) == (204, b"")
    # Its own: session, user, and the revision with the newest look. One more is this test's own
    # current().
    assert len(queries) - 1 == 3


def test_what_moves_all_the_time_travels_in_headers(officer: Client) -> None:
    factories.exchange("KRAKEN")
    answer = poll(officer, "console")
    seen_at = Observation.objects.get().seen_at
    assert seen_at
    assert int(answer["X-Seen-At"]) == round(seen_at.timestamp() * 1000)
    assert abs(int(answer["X-Now"]) - seen_at.timestamp() * 1000) < 60_000
    assert int(answer["X-Session-Ends"]) > int(answer["X-Now"])
    assert (answer["X-Ready"], answer["X-Ready-Note"]) == ("READY", "EMS%2084%20ms")


def test_a_changed_row_comes_alone_with_the_panels_and_the_new_revision(
    officer: Client, olga: User
) -> None:
    _, two, _ = factories.exchanges(3)
    known = current()
    factories.change(two, open_orders=99)
    answer = poll(officer, "console", known=known)
    assert ids(answer) == [f"x{two.pk}", *PANELS, "known"]
    assert f'value="{current()}"' in html(answer)
    assert poll(officer, "console").status_code == 204


def test_a_request_changes_its_row_and_the_latest_requests(officer: Client, olga: User) -> None:
    one, *_ = factories.exchanges(3)
    request = factories.press(olga, one).requests.get()
    known = current()
    factories.bring(request, Status.SENDING)
    answer = poll(officer, "console", known=known)
    assert ids(answer) == [f"x{one.pk}", *PANELS, "latest", "known"]


def test_an_exchange_that_is_disabled_leaves_and_one_that_is_enabled_comes(
    officer: Client, olga: User
) -> None:
    one, *_ = factories.exchanges(3)
    known = current()
    factories.change(one, enabled=False)
    page = html(poll(officer, "console", known=known))
    assert f'<tr id="x{one.pk}" data-gone>' in page
    assert "on 2 exchanges" in page
    known = current()
    factories.change(one, enabled=True)
    assert f'<tr id="x{one.pk}" data-into="rows"' in html(poll(officer, "console", known=known))


def test_an_exchange_that_is_not_set_up_appears(officer: Client, olga: User) -> None:
    factories.exchanges(3)
    known = current()
    UncoveredExchange.objects.create(exchange_id="OKEX", open_orders=12)
    Observation.objects.update(revision=next_revision())
    answer = poll(officer, "console", known=known)
    assert ids(answer) == [*PANELS, "known"]
    assert "OKEX" in html(answer)


def test_an_alarm_reaches_every_page(officer: Client, olga: User) -> None:
    exchange = factories.exchange("KRAKEN")
    request = factories.press(olga, exchange).requests.get()
    known = current()
    factories.bring(request, Status.UNKNOWN)
    for shown in ("console", "requests:newest", "nonsense"):
        assert {"alarms", "alarm-count"} <= set(ids(poll(officer, shown, known=known)))
    known = current()
    officer.post(f"/alarms/{Alarm.objects.get().pk}/acknowledge/", headers=HTMX)
    assert 'data-count="0"' in html(poll(officer, "console", known=known))


def test_a_batch_and_a_request_are_shown_as_they_change(officer: Client, olga: User) -> None:
    batch = factories.press(olga, *factories.exchanges(3))
    first, *_ = batch.requests.order_by("id")
    known = current()
    shown = (f"batch:{batch.uuid}", f"request:{first.uuid}", "requests:newest")
    assert ids(poll(officer, *shown)) == []
    factories.bring(first, Status.REJECTED)
    answer = poll(officer, *shown, known=known)
    assert f"batch-{batch.uuid}" in ids(answer)
    assert f"request-{first.uuid}" in ids(answer)
    assert f"c{batch.pk}" in ids(answer)
    assert f'id="r{first.pk}"' in html(answer)
    assert "1 rejected: EXCHANGE_UNREACHABLE, 2 not sent yet" in html(answer)


def test_an_older_page_of_the_list_misses_no_changed_row(officer: Client, olga: User) -> None:
    one, *_ = factories.exchanges(1)
    batches = [factories.press(olga, one) for _ in range(PAGE_SIZES[0] + 2)]
    page = html(officer.get(f"/requests/?before={batches[1].pk}"))
    assert f'name="show" value="requests:{batches[1].pk}:' in page
    known = current()
    CancelRequest.objects.update(revision=next_revision())
    answer = poll(officer, f"requests:{batches[1].pk}", known=known)
    assert ids(answer) == [f"c{batches[0].pk}", "known"]
    assert "data-into" not in html(answer), "only the newest page takes new rows"


def test_a_list_with_more_changes_than_an_answer_holds_is_reloaded(
    officer: Client, olga: User
) -> None:
    exchange, *_ = factories.exchanges(1)
    fields = {"show": "requests:newest", "known": str(current())}
    request = RequestFactory().get("/poll/", fields)
    request.session, request.user = officer.session, olga
    for _ in range(2):
        factories.press(olga, exchange)
    assert len(ids(answer(request, user=olga, max_rows=2))) == 3
    factories.press(olga, exchange)
    assert answer(request, user=olga, max_rows=2)["HX-Refresh"] == "true"


def test_a_batch_is_retried_in_the_dialog_from_its_page_as_well(
    officer: Client, olga: User
) -> None:
    batch = factories.press(olga, *factories.exchanges(1))
    known = current()
    factories.bring(batch.requests.get(), Status.REJECTED)
    in_dialog = html(poll(officer, f"dialog:{batch.uuid}", known=known))
    on_page = html(poll(officer, f"batch:{batch.uuid}", known=known))
    assert 'hx-target="#dialog-body"' in in_dialog
    assert 'hx-target="#dialog-body"' in on_page


def test_a_reason_that_is_completed_shows_everywhere(officer: Client, olga: User) -> None:
    batch = factories.press(olga, *factories.exchanges(1))
    known = current()
    complete_reason(batch=batch, user=olga, reason="strategy 7 ran away")
    page = html(poll(officer, "console", f"batch:{batch.uuid}", known=known))
    assert page.count("strategy 7 ran away") == 2  # among the latest, and with the press


def test_the_page_of_a_person_who_was_replaced_gets_no_data(officer: Client, olga: User) -> None:
    page = html(officer.get("/"))
    assert f"/poll/?person={olga.pk}" in page
    fields = {"known": current(), "person": olga.pk}
    assert officer.get("/poll/", fields, headers=HTMX).status_code == 204
    assert officer.get("/poll/", fields | {"person": olga.pk + 1}, headers=HTMX).status_code == 401


def test_a_batch_on_all_exchanges_names_what_it_does_not_include(
    officer: Client, olga: User
) -> None:
    exchanges = factories.exchanges(2)
    UncoveredExchange.objects.create(exchange_id="OKEX", open_orders=12)
    everywhere = factories.press(olga, *exchanges, everywhere=True)
    some = factories.press(olga, *exchanges)
    sentence = "Not included then:</b> <code>OKEX</code> (12 open). Not enabled here at that time."
    assert sentence in html(officer.get(f"/batches/{everywhere.uuid}/"))
    assert sentence not in html(officer.get(f"/batches/{some.uuid}/"))


def test_a_retry_shows_the_last_reply_of_the_ems(officer: Client, olga: User) -> None:
    one, *_ = factories.exchanges(1)
    batch = factories.press(olga, one)
    factories.bring(batch.requests.get(), Status.SENDING)
    page = html(officer.get(f"/batches/{batch.uuid}/"))
    assert "Attempt 2 ended (last EMS response: EXCHANGE_UNREACHABLE). Retrying" in page
    factories.bring(batch.requests.get(), Status.VERIFYING, attempts=7)
    page = html(officer.get(f"/batches/{batch.uuid}/"))
    assert "Checking what is still open: 9 attempts" in page


def test_the_checks_come_only_while_they_are_open(officer: Client) -> None:
    assert ids(poll(officer, "console", "ready")) == ["ready", "known"]
    assert poll(officer, "console").status_code == 204


@pytest.mark.parametrize("known", ["", "x", "-5", "99999999999999999999999", "²", "10000000"])
def test_a_page_with_an_invalid_revision_gets_everything(
    officer: Client, olga: User, known: str
) -> None:
    factories.exchanges(2)
    assert len(ids(poll(officer, "console", known=known))) >= 4


@pytest.mark.parametrize("shown", ["batch:x", "request:", "batch", ":", "dialog:%00", "\x00"])
def test_an_invalid_part_is_left_out(officer: Client, olga: User, shown: str) -> None:
    factories.exchanges(2)
    assert ids(poll(officer, shown, known=0)) == ["known"]


def test_an_ended_session_gets_401_and_leaves_no_event(db: None) -> None:
    before = AuditEvent.objects.count()
    answer = Client().get("/poll/", headers=HTMX | {"HX-Current-URL": "http://testserver/"})
    assert (answer.status_code, answer["HX-Trigger"]) == (401, "session-expired")
    assert answer["X-Sign-In"].startswith("/accounts/login/")
    assert AuditEvent.objects.count() == before


def test_polling_does_not_make_a_session_longer(officer: Client, settings: Any) -> None:
    first = poll(officer, "console")
    second = poll(officer, "console")
    assert settings.SESSION_COOKIE_NAME not in second.cookies
    assert int(second["X-Session-Ends"]) >= int(first["X-Session-Ends"])


def test_compliance_gets_rows_without_buttons(compliance: Client, olga: User) -> None:
    factories.exchanges(2)
    page = html(poll(compliance, "console", known=0))
    assert "data-exchange-id" in page
    assert "cancel-all" not in page


def test_a_page_from_before_a_restored_backup_gets_everything(officer: Client) -> None:
    factories.exchanges(2)
    known = current() + 40  # what was recorded after the backup was made
    mark_restore()
    assert len(ids(poll(officer, "console", known=known))) == len(
        ids(poll(officer, "console", known=-1))
    )
    assert poll(officer, "console").status_code == 204
