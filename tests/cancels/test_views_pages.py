"""The pages of a batch and its requests: outcomes, attempts, retries, the reason added later."""

import csv
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from killswitch.accounts.models import Role, User
from killswitch.alarms.models import Alarm
from killswitch.audit.descriptions import describe
from killswitch.audit.models import AuditEvent, EventKind
from killswitch.cancels import status_display
from killswitch.cancels.models import Attempt, Batch, CancelRequest, Origin
from killswitch.cancels.request_page import AttemptRun
from killswitch.cancels.states import FINAL, Status
from killswitch.cancels.status_display import elapsed
from killswitch.cancels.view_models import BatchPage, summary
from killswitch.ems import answers
from killswitch.exchanges.models import Runbook
from killswitch.exchanges.runbook import RUNBOOK_ID
from tests import factories
from tests.console.press_helpers import HTMX, key_in
from tests.console.test_poll import poll
from tests.markup import html

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]


def page_of(client: Client, request: CancelRequest) -> str:
    answer = client.get(f"/requests/{request.uuid}/")
    assert answer.status_code == 200
    return html(answer)


def requested(olga: User, status: Status, **fields: Any) -> CancelRequest:
    exchange = factories.exchange(f"EXCHANGE{CancelRequest.objects.count()}", orders=3)
    return factories.bring(factories.press(olga, exchange).requests.get(), status, **fields)


@pytest.mark.parametrize("status", Status)
def test_a_request_shows_what_is_known_of_it(officer: Client, olga: User, status: Status) -> None:
    request = requested(olga, status)
    page = page_of(officer, request)
    assert f'data-request-id="{request.uuid}" data-status="{status}"' in page
    assert (request.conclusion or status_display.progress_text(request)) in page


def test_orders_that_remain_are_listed(officer: Client, olga: User) -> None:
    page = page_of(officer, requested(olga, Status.RESIDUAL, orders=2040))
    assert "2,040 orders still open" in page
    assert "the first 1000 are listed" in page
    assert "6ab36bc1-344d-432e-ac6d-0bf44ee60002" in page


def test_a_file_has_the_orders_that_remain_and_says_when_it_has_not_all(
    officer: Client, compliance: Client, olga: User
) -> None:
    request = requested(olga, Status.RESIDUAL, orders=3)
    request.residual_orders.filter(client_order_id__endswith="1").update(
        symbol='=cmd|" /C calc"!A0'
    )
    for client in (officer, compliance):
        answer = client.get(f"/requests/{request.uuid}/orders.csv")
        rows = list(csv.reader(answer.content.decode("utf-8-sig").splitlines()))
        assert rows[0][0] == "Symbol"
        assert rows[0][-1] == "Exchange order ID"
        assert [row[0][:4] for row in rows[1:]] == ["BTC-", "'=cm", "BTC-"]
        name = f"open-orders-EXCHANGE0-{str(request.uuid)[:8]}.csv"
        assert answer["Content-Disposition"] == f'attachment; filename="{name}"'
    CancelRequest.objects.update(open_after=2040)
    cut = officer.get(f"/requests/{request.uuid}/orders.csv")["Content-Disposition"]
    assert cut.endswith('-first-3-of-2040.csv"')
    assert f"/requests/{request.uuid}/orders.csv" in page_of(officer, request)


def test_orders_that_were_only_counted_are_not_hidden(officer: Client, olga: User) -> None:
    request = requested(olga, Status.RESIDUAL, orders=3)
    request.residual_orders.all().delete()
    page = page_of(officer, request)
    assert "the EMS did not list them one by one" in page
    assert "orders.csv" not in page


@pytest.mark.parametrize("status", [status for status in Status if status in FINAL])
def test_nothing_of_the_past_is_marked_as_going_on(
    officer: Client, compliance: Client, olga: User, status: Status
) -> None:
    request = requested(olga, status)
    for client in (officer, compliance):
        article = page_of(client, request).partition("<article")[2].partition("</article>")[0]
        assert not re.search(r'class="st [^"]*busy', article)


def test_attempts_are_folded_only_while_they_end_alike(olga: User) -> None:
    request = requested(olga, Status.SENDING, attempts=0)
    accepted = factories.answer(request, Status.RESIDUAL)
    rejected = factories.answer(request, Status.REJECTED)
    lost = answers.not_delivered("Connection refused (error 111)")
    for given in (lost, accepted, accepted, rejected, accepted):
        factories.attempt(request, given)
        request.refresh_from_db()
    runs = AttemptRun.of(list(request.attempts.all()))
    assert [len(run.attempts) for run in runs] == [1, 2, 1, 1]
    assert runs[1].badge.words == "2 attempts, all accepted by the EMS"
    # A message may hold a number that differs every time; whether it was carried out may not.
    request.attempts.filter(number=2).update(message="request 4711 accepted")
    assert len(AttemptRun.of(list(request.attempts.all()))) == 4
    request.attempts.filter(number=2).update(may_have_been_carried_out=True)
    assert len(AttemptRun.of(list(request.attempts.all()))) == 5
    request.attempts.filter(number=2).update(may_have_been_carried_out=False)
    for given in (rejected, accepted) * 6:
        factories.attempt(request, given)
        request.refresh_from_db()
    (run,) = AttemptRun.of(list(request.attempts.all()))
    assert run.badge.words == (
        "17 attempts: 9 accepted by the EMS, 7 rejected by the EMS, 1 not delivered"
    )
    assert run.badge.tone == "odd"
    assert run.reject_reason == ""


def test_the_batch_counts_what_is_not_confirmed(olga: User) -> None:
    batch = factories.press(olga, *factories.exchanges(4))
    first, second, third, fourth = batch.requests.order_by("id")
    assert BatchPage.of(batch, user=olga).bad_count == ""
    factories.bring(first, Status.REJECTED)
    factories.bring(second, Status.CONFIRMED)
    expected = "1 of 4 not confirmed so far, 2 still running"
    assert BatchPage.of(batch, user=olga).bad_count == expected
    factories.look_again(second, after_s=12, orders=1)
    factories.bring(third, Status.UNKNOWN)
    factories.bring(fourth, Status.CONFIRMED)
    assert BatchPage.of(batch, user=olga).bad_count == "3 of 4 not confirmed"


def test_messages_of_the_ems_change_no_direction_of_text(officer: Client, olga: User) -> None:
    hostile = "\u202egnp\x1b[2J"
    request = requested(olga, Status.REJECTED)
    words = {"reject_reason": hostile, "message": hostile, "rejected_message": hostile}
    request.attempts.update(**words)
    CancelRequest.objects.update(**words, conclusion=f"The EMS refused: {hostile}.")
    Alarm.objects.update(title=hostile, detail=hostile)
    batch = request.batch.uuid
    shown = ["console", "requests:newest", f"request:{request.uuid}", f"batch:{batch}"]
    poll = "/poll/?known=0&" + "&".join(f"show={part}" for part in shown)
    for path in ("/", "/requests/", f"/requests/{request.uuid}/", f"/batches/{batch}/", poll):
        page = html(officer.get(path))
        assert "\\u202egnp␛[2J" in page, path
        assert not {"\u202e", "\x1b"} & set(page), path


def test_the_page_of_a_request_shows_what_its_alarm_said(officer: Client, olga: User) -> None:
    answer = officer.get(f"/requests/{requested(olga, Status.REJECTED).uuid}/")
    assert f"<pre>{Alarm.objects.get().detail}</pre>" in answer.content.decode()


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b"\x00\x1b[31m", "␀␛[31m"),
        (b"\xff\xfe", "ff fe"),
        (b"<script>", "&lt;script&gt;"),
        ("\u202egnp".encode(), "\\u202egnp"),
        (b'"\\ud800"', "\\ud800"),
    ],
)
def test_hostile_bytes_of_an_answer_are_shown_harmlessly(
    officer: Client, olga: User, body: bytes, shown: str
) -> None:
    request = requested(olga, Status.REJECTED)
    Attempt.objects.filter(request=request).update(body=body, body_cut=True)
    page = page_of(officer, request)
    assert shown in page
    assert "Raw EMS response (truncated)" in page


def test_a_dead_holders_attempt_says_so(officer: Client, olga: User) -> None:
    request = requested(olga, Status.UNKNOWN)
    Attempt.objects.filter(request=request, number=1).update(
        by_dead_holder=True, started_at=None, duration_us=None
    )
    page = page_of(officer, request)
    assert "the process handling it did not finish" in page
    assert "may have been carried out" in page


def test_a_late_start_is_shown(officer: Client, olga: User) -> None:
    request = requested(olga, Status.CONFIRMED)
    request.batch.asked_at -= timedelta(minutes=60)
    request.batch.save()
    assert "60 min after the request" in page_of(officer, request)


@pytest.mark.parametrize("host", ["the web host", "the worker's host"])
def test_clocks_that_differ_give_no_duration_anywhere(
    officer: Client, olga: User, host: str
) -> None:
    request = requested(olga, Status.CONFIRMED)
    hour = timedelta(hours=1)
    if host == "the web host":
        Batch.objects.update(asked_at=datetime.now(UTC) + hour)
    else:
        CancelRequest.objects.update(first_claimed_at=datetime.now(UTC) + hour)
    request = CancelRequest.objects.get()
    assert elapsed(request) == ""
    page = page_of(officer, request)
    assert "after an unknown time: clocks differ or were changed" in page
    assert "212 ms" in page, "attempts are measured by a monotonic clock"
    pages = [page, *(html(officer.get(path)) for path in ("/", "/requests/"))]
    pages.append(html(officer.get(f"/batches/{request.batch.uuid}/")))
    for text in pages:
        assert not re.search(r"-\s?\d[\d.]* (ms|s|min|h)\b", text)
        assert "took" not in text
        assert "after the request" not in text


@pytest.mark.parametrize("status", [Status.SENDING, Status.VERIFYING])
@pytest.mark.parametrize("ahead", [False, True])
def test_a_countdown_is_never_longer_than_a_request(
    officer: Client, olga: User, status: Status, ahead: bool
) -> None:
    request = requested(olga, status)
    at = datetime.now(UTC) + timedelta(hours=1 if ahead else 0)
    CancelRequest.objects.update(first_claimed_at=at, next_attempt_at=at)
    for path in ("/", f"/requests/{request.uuid}/", f"/batches/{request.batch.uuid}/"):
        page = html(officer.get(path))
        assert ("data-left=" in page) == (not ahead), path
        assert ("data-due=" in page) == (not ahead), path


def test_the_summary_counts_and_names_the_reject_reasons(olga: User) -> None:
    batch = factories.press(olga, *factories.exchanges(6))
    statuses = ["CONFIRMED", "CONFIRMED", "RESIDUAL", "REJECTED", "REJECTED", "UNKNOWN"]
    for request, status in zip(batch.requests.order_by("id"), statuses, strict=True):
        factories.bring(request, Status(status))
    sentence = summary(list(batch.requests.all()))
    assert sentence == (
        "2 of 6 confirmed, 1 with orders still open, 2 rejected: EXCHANGE_UNREACHABLE,"
        " 1 with unknown outcome"
    )
    batch.requests.filter(status="REJECTED").order_by("id").update(reject_reason="OTHER")
    CancelRequest.objects.filter(pk=batch.requests.filter(status="REJECTED")[0].pk).update(
        reject_reason="JSON_ERROR"
    )
    assert "2 rejected: " in summary(list(batch.requests.all()))
    assert "JSON_ERROR (1)" in summary(list(batch.requests.all()))


def test_a_request_that_was_reopened_is_not_confirmed_in_the_summary(olga: User) -> None:
    batch = factories.press(olga, *factories.exchanges(3))
    first, second, third = batch.requests.order_by("id")
    for request in (first, second, third):
        factories.bring(request, Status.CONFIRMED)
    factories.look_again(second, after_s=12, orders=3)
    page = BatchPage.of(batch, user=olga)
    assert page.summary == "2 of 3 confirmed, 1 with orders open again"
    assert list(page.requests) == [second, first, third]
    assert page.retry
    assert page.retry.exchanges == (second.configured_exchange,)


def test_orders_that_remain_come_before_those_that_are_open_again_and_before_refusals(
    olga: User,
) -> None:
    batch = factories.press(olga, *factories.exchanges(3))
    first, second, third = batch.requests.order_by("id")
    factories.bring(first, Status.REJECTED)
    factories.look_again(factories.bring(second, Status.CONFIRMED), after_s=12, orders=1)
    factories.bring(third, Status.RESIDUAL)
    assert list(BatchPage.of(batch, user=olga).requests) == [third, second, first]


@pytest.mark.parametrize("age", [timedelta(0), timedelta(hours=2)])
def test_a_cancel_on_many_exchanges_says_whom_to_call_where_it_has_just_failed(
    officer: Client, olga: User, age: timedelta
) -> None:
    made = [
        factories.exchange(name, orders=3, contact=f"Desk of {name}") for name in ("BAD", "GOOD")
    ]
    Runbook.objects.create(pk=RUNBOOK_ID, text="Call the EMS desk.")
    batch = factories.press(olga, *made)
    bad, good = batch.requests.order_by("id")
    factories.bring(bad, Status.REJECTED)
    factories.bring(good, Status.CONFIRMED)
    finished_at = datetime.now(UTC) - age
    batch.requests.update(finished_at=finished_at)
    both = (
        officer.get(f"/batches/{batch.uuid}/"),
        poll(officer, f"dialog:{batch.uuid}", known=0),
    )
    for answer in both:
        text = html(answer).split('<ul class="outcomes')[1].split("</section>")[0]
        assert ("Desk of BAD" in text) == ("Call the EMS desk." in text) == (age == timedelta(0))
        assert "Desk of GOOD" not in text


def test_a_request_that_was_reopened_says_so_on_every_page(officer: Client, olga: User) -> None:
    request = requested(olga, Status.CONFIRMED)
    revision = request.revision
    factories.look_again(request, after_s=12, orders=1)
    says = "1 order open again after 12 s"
    paths = [f"/requests/{request.uuid}/", f"/batches/{request.batch.uuid}/", "/requests/", "/"]
    for path in paths:
        assert says in html(officer.get(path)), path
    page = page_of(officer, request)
    assert "The cancel was confirmed. 12 s later the EMS listed open orders again" in page
    assert f"When it was confirmed: {request.conclusion}" in page
    assert "Retry" in page
    shown = (f"request:{request.uuid}", f"batch:{request.batch.uuid}", "requests:newest")
    for part in (*shown, "console"):
        assert says in html(officer.get(f"/poll/?known={revision}&show={part}")), part


@pytest.mark.parametrize(
    ("looks", "text"),
    [
        ([], "none recorded so far after 5 s and 60 s"),
        ([(5, 0, "")], "still none open after 5 s; none recorded so far after 60 s"),
        ([(60, 0, "")], "still none open after 60 s; none recorded so far after 5 s"),
        ([(5, 0, ""), (60, 0, "")], "still none open after 5 s and 60 s"),
        ([(5, 3, ""), (60, 0, "")], "still none open after 60 s; after 5 s: 3 orders open"),
        ([(5, 0, ""), (60, 1, "")], "still none open after 5 s; after 60 s: 1 order open"),
        (
            [(5, 0, ""), (60, 0, "HTTP 503")],
            "still none open after 5 s; no second look after 60 s:"
            " the list could not be read (HTTP 503)",
        ),
        (
            [(5, 2, "a page of a list"), (60, 0, "")],
            "still none open after 60 s; after 5 s: at least 2 orders open",
        ),
    ],
)
def test_the_second_looks_are_shown_in_words_and_while_the_page_is_open(
    officer: Client, olga: User, looks: list[tuple[int, int, str]], text: str
) -> None:
    request = requested(olga, Status.CONFIRMED)
    revision = request.revision
    for after_s, orders, error in looks:
        factories.look_again(request, after_s=after_s, orders=orders, error=error)
    assert f"Second look: {text}." in page_of(officer, request)
    if looks:
        poll = officer.get(f"/poll/?known={revision}&show=request:{request.uuid}")
        assert f"Second look: {text}." in html(poll)


@pytest.mark.parametrize("status", sorted(set(Status) - {Status.CONFIRMED}))
def test_only_a_confirmed_request_promises_a_second_look(
    officer: Client, olga: User, status: Status
) -> None:
    assert "Second look" not in page_of(officer, requested(olga, status))


def test_an_episode_of_a_hold_promises_no_second_look(officer: Client, olga: User) -> None:
    request = requested(olga, Status.CONFIRMED)
    Batch.objects.update(origin=Origin.HOLD)
    assert "Second look" not in page_of(officer, request)


@pytest.mark.parametrize(
    ("orders", "error", "text"),
    [
        (0, "", "After 5 s: still none open."),
        (3, "", "After 5 s: 3 orders open."),
        (0, "HTTP 503", "After 5 s: the list could not be read (HTTP 503)."),
        (1, "a page of a list", "After 5 s: at least 1 order open (a page of a list)."),
    ],
)
def test_the_log_describes_a_second_look(olga: User, orders: int, error: str, text: str) -> None:
    request = requested(olga, Status.CONFIRMED)
    factories.look_again(request, after_s=5, orders=orders, error=error)
    assert describe(AuditEvent.objects.get(kind=EventKind.SECOND_LOOK)) == text


def test_a_refusal_without_open_orders_needs_no_attention(officer: Client, olga: User) -> None:
    request = requested(olga, Status.REJECTED, orders=0)
    assert "1 rejected, none open" in summary([request])
    page = page_of(officer, request)
    assert "Rejected, none open" in page
    assert "EXCHANGE_UNREACHABLE" in page
    assert "Retry" not in page
    assert not Alarm.objects.exists()
    assert 'class="attn' not in html(officer.get("/"))


def test_a_retry_requests_only_the_bad_ones_in_one_batch(officer: Client, olga: User) -> None:
    batch = factories.press(olga, *factories.exchanges(3))
    good, bad, worse = batch.requests.order_by("id")
    factories.bring(good, Status.CONFIRMED)
    factories.bring(bad, Status.REJECTED)
    factories.bring(worse, Status.RESIDUAL)
    page = html(officer.get(f"/batches/{batch.uuid}/"))
    pks = [worse.configured_exchange_id, bad.configured_exchange_id]
    path = "/cancel-all/?exchange={}&exchange={}".format(*pks)
    assert path.replace("&", "&amp;") in page
    shown = page[page.index('<ul class="outcomes') :]
    assert shown.index("VENUE03") < shown.index("VENUE02") < shown.index("VENUE01")
    again = officer.post(path, {"key": key_in(page)})
    assert again.status_code == 303
    assert set(
        Batch.objects.latest("id").requests.values_list("configured_exchange", flat=True)
    ) == {
        bad.configured_exchange_id,
        worse.configured_exchange_id,
    }


def test_compliance_cannot_retry(compliance: Client, olga: User) -> None:
    batch = factories.press(olga, *factories.exchanges(1))
    factories.bring(batch.requests.get(), Status.REJECTED)
    page = html(compliance.get(f"/batches/{batch.uuid}/"))
    assert "Retry" not in page
    assert "Add reason" not in page


def test_an_unknown_request_is_not_found(officer: Client) -> None:
    unknown = "00000000-0000-0000-0000-000000000000"
    for path in (f"/requests/{unknown}/", f"/batches/{unknown}/", "/requests/x/"):
        answer = officer.get(path)
        assert answer.status_code == 404
        assert "Page not found" in html(answer)


def test_the_reason_is_added_once_by_the_requester(officer: Client, olga: User) -> None:
    batch = factories.press(olga, *factories.exchanges(1))
    path = f"/batches/{batch.uuid}/reason/"
    assert "Add reason" in html(officer.get(f"/batches/{batch.uuid}/"))
    assert officer.post(path, {"reason": ["", "  "]}).status_code == 400
    assert officer.post(path, {"reason": ["Drill", "of May"]}).status_code == 303
    batch.refresh_from_db()
    assert batch.completed_reason == "Drill: of May"
    again = officer.post(path, {"reason": "Other"})
    assert again.status_code == 409
    assert "has already been added" in html(again)
    assert "Add reason" not in html(officer.get(f"/batches/{batch.uuid}/"))


@pytest.mark.parametrize(
    ("reason", "error"),
    [
        (["", "  "], "Select or enter a reason."),
        (["", "\u200b \x1b"], "Select or enter a reason."),
        (["Other", ""], "Enter details for “Other”."),
        (["Other", " . "], "Enter details for “Other”."),
        (["", "other"], "Enter details for “Other”."),
        (["", "x" * 501], "Use at most 500 characters."),
    ],
)
def test_a_reason_that_explains_nothing_is_refused_next_to_what_was_typed(
    officer: Client, olga: User, reason: list[str], error: str
) -> None:
    request = factories.press(olga, *factories.exchanges(1)).requests.get()
    path = f"/batches/{request.batch.uuid}/reason/"
    back = f"/requests/{request.uuid}/"
    plain = officer.post(path, {"reason": reason, "back": back})
    htmx = officer.post(path, {"reason": reason}, headers=HTMX)
    assert (plain.status_code, htmx.status_code) == (400, 200)
    for answer in (plain, htmx):
        page = html(answer)
        assert error in page
        assert 'aria-invalid="true"' in page
        assert ("<option selected>Other" in page) == (reason[0] == "Other")
        assert reason[1] != "other" or 'value="other"' in page
    assert f'href="{back}"' in html(plain)
    assert "<html" not in html(htmx)
    request.batch.refresh_from_db()
    assert request.batch.completed_at is None


def test_a_good_reason_leads_back_to_where_it_was_added(officer: Client, olga: User) -> None:
    requests = [factories.press(olga, row).requests.get() for row in factories.exchanges(5)]
    ours = [f"/requests/{requests[0].uuid}/", "/", f"/batches/{requests[1].batch.uuid}/"]
    for request, back in zip(requests, [*ours, "https://evil.example/", "/admin/"], strict=True):
        batch = f"/batches/{request.batch.uuid}/"
        answer = officer.post(f"{batch}reason/", {"reason": ["Drill", ""], "back": back})
        assert answer.status_code == 303
        assert answer["Location"] == f"{back if back in ours else batch}#reason"
        assert "Reason saved" in html(officer.get(batch))
        assert "Reason saved" in page_of(officer, request)


def test_other_people_cannot_add_the_reason(
    officer: Client, olga: User, compliance: Client
) -> None:
    batch = factories.press(olga, *factories.exchanges(1))
    other = Client()
    other.force_login(factories.person(Role.RISK_OFFICER, username="ben", full_name="Ben Ray"))
    path = f"/batches/{batch.uuid}/reason/"
    assert other.post(path, {"reason": "Drill"}).status_code == 403
    assert compliance.post(path, {"reason": "Drill"}).status_code == 403
    assert not AuditEvent.objects.filter(kind=EventKind.REASON_COMPLETED).exists()


def test_an_officer_cannot_read_the_log(officer: Client) -> None:
    assert officer.get("/audit/").status_code == 403
