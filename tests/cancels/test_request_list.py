"""The list of requests: its rows, its pages, its links and its export, in a plain browser."""

import csv
import io
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from killswitch.accounts.models import Role, User
from killswitch.alarms.models import Alarm
from killswitch.audit.models import AuditEvent
from killswitch.cancels import request_list, requests_csv
from killswitch.cancels.models import Batch, CancelRequest, Origin
from killswitch.cancels.request_list import MAX_COUNTED_IN_NOTE
from killswitch.cancels.request_rows import MAX_SHOWN
from killswitch.cancels.states import Status
from killswitch.runtime.revisions import current
from tests import factories
from tests.audit.export.export_helpers import nothing_can_be_written
from tests.browser import scenes
from tests.failures import lose_connection
from tests.markup import html
from tests.rendering import counted

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]

MAX_QUERIES = 20


def cancel(olga: User, *statuses: Status, **fields: Any) -> Batch:
    """Cancel on as many exchanges as there are statuses, and bring each request to its own."""
    exchanges = [
        factories.exchange(f"VENUE{Batch.objects.count()}-{number:02}", position=number)
        for number in range(len(statuses))
    ]
    batch = factories.press(olga, *exchanges, **fields)
    for request, status in zip(batch.requests.order_by("id"), statuses, strict=True):
        factories.bring(request, status)
    return batch


def page(client: Client, query: str = "", *, status: int = 200) -> str:
    answer = client.get(f"/requests/?{query}")
    assert answer.status_code == status
    assert "no-store" in answer["Cache-Control"]
    return html(answer)


def rows(text: str) -> list[str]:
    return re.findall(r'<tr id="c\d+".*?</tr>', text)


def link(text: str, label: str) -> str:
    """Return the query of the link with this text."""
    match = re.search(rf'href="/requests/\??([^"]*)"[^>]*>\s*{label}\s*</a>', text)
    assert match, label
    return match[1].replace("&amp;", "&")


def words(markup: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", markup)).replace(" ,", ",").strip()


def test_a_cancel_is_one_row_with_its_result_in_words(officer: Client, olga: User) -> None:
    bad = (Status.REJECTED,) * 4 + (Status.RESIDUAL,) * 3 + (Status.UNKNOWN,)
    batch = cancel(olga, *(Status.CONFIRMED,) * 5, *bad, everywhere=True, reason="Drill")
    (row,) = rows(page(officer))
    text = words(row)
    assert "Olga Ray All 13 exchanges" in text
    assert (
        "5 confirmed, 8 not confirmed: 3 with orders still open, 4 rejected, 1 with unknown outcome"
        in text
    )
    assert "Drill" in text
    assert "<details>" in row
    assert f"/batches/{batch.uuid}/" in row
    for request in batch.requests.all():
        assert f'data-request-id="{request.uuid}" data-status="{request.status}"' in row


@pytest.mark.parametrize(
    ("fields", "count", "target"),
    [
        ({"everywhere": True}, 2, "All 2 exchanges"),
        ({"everywhere": True}, 1, "All exchanges: 1"),
        ({}, 3, "3 exchanges"),
        ({}, 1, "VENUE0-00"),
        ({"group_name": "Desk A"}, 2, "Desk A (2 exchanges)"),
        ({"group_name": "Desk A"}, 1, "Desk A (1 exchange)"),
    ],
)
def test_a_row_says_what_was_cancelled(
    officer: Client, olga: User, fields: dict[str, Any], count: int, target: str
) -> None:
    batch = cancel(olga, *(Status.CONFIRMED,) * count)
    Batch.objects.filter(pk=batch.pk).update(**fields)
    assert target in words(rows(page(officer))[0])


def test_a_retry_is_marked_with_a_link_to_what_it_repeats(officer: Client, olga: User) -> None:
    first = cancel(olga, Status.REJECTED)
    again = cancel(olga, Status.CONFIRMED)
    Batch.objects.filter(pk=again.pk).update(retry_of=first)
    newest, oldest = rows(page(officer))
    assert f'Retry of <a href="/batches/{first.uuid}/">' in newest
    assert "Retry of" not in oldest


def test_a_filter_opens_the_rows_at_the_requests_that_match(officer: Client, olga: User) -> None:
    batch = cancel(olga, Status.CONFIRMED, Status.REJECTED, Status.CONFIRMED)
    cancel(olga, Status.CONFIRMED)
    rejected = batch.requests.get(status=Status.REJECTED)
    for query in ("outcome=not_confirmed", f"exchange={rejected.exchange_id}", "q=unreachable"):
        (row,) = rows(page(officer, query))
        assert "<details open>" in row
        assert re.findall(r'data-request-id="([^"]+)"', row) == [str(rejected.uuid)]
        assert "2 more: all exchanges in this cancel" in row


def test_no_failure_is_hidden_among_many_exchanges(officer: Client, olga: User) -> None:
    statuses = [Status.CONFIRMED] * 70
    statuses[60:] = [Status.REJECTED] * 10
    batch = cancel(olga, *statuses)
    (row,) = rows(page(officer))
    assert row.count("data-request-id") == MAX_SHOWN
    assert row.count('data-status="REJECTED"') == 10
    assert "50 more: all exchanges" in row
    for request in batch.requests.filter(status=Status.CONFIRMED)[:20]:
        factories.look_again(request, after_s=12, orders=1)
    assert "50 more, 10 of them not confirmed: all exchanges" in rows(page(officer))[0]


def test_holds_are_folded_but_their_failures_are_not(officer: Client, olga: User) -> None:
    for status in (Status.CONFIRMED, Status.RESIDUAL, Status.CONFIRMED, Status.SENDING):
        cancel(olga, status)
    Batch.objects.update(origin=Origin.HOLD, by_name="system", by=None)
    text = page(officer)
    (row,) = rows(text)
    assert 'data-status="RESIDUAL"' in row
    assert "Not shown: 3 requests of Holds" in words(text)
    assert len(rows(page(officer, link(text, "Show them")))) == 4
    assert "Not shown" not in page(officer, "by=all")


def test_what_is_in_progress_is_counted_next_to_what_is_not_confirmed(
    officer: Client, olga: User
) -> None:
    cancel(olga, Status.REJECTED)
    assert "in progress" not in words(page(officer, "outcome=not_confirmed").split("found")[1])
    cancel(olga, Status.SENDING)
    text = page(officer, "outcome=not_confirmed")
    assert len(rows(text)) == 1
    assert '<a href="/requests/?outcome=in_progress"> 1 more request in progress </a>' in text
    assert "“Rejected, none open” is not among them" in words(text)


def test_the_failed_cancels_of_the_last_week_are_three_clicks_away(
    compliance: Client, olga: User
) -> None:
    """The console, its link "Requests", "Last 7 days", "Not confirmed": who and why is there."""
    cancel(olga, Status.REJECTED, reason="Runaway algorithm")
    cancel(olga, Status.CONFIRMED)
    old = cancel(olga, Status.REJECTED)
    long_ago = datetime.now(UTC) - timedelta(days=8)
    Batch.objects.filter(pk=old.pk).update(asked_at=long_ago)
    text = html(compliance.get("/"))
    for label in ("Requests", "Last 7 days", "Not confirmed"):
        match = re.search(rf'<a href="([^"]+)"[^>]*>{label}</a>', text)
        assert match, label
        text = html(compliance.get(match[1].replace("&amp;", "&")))
    (row,) = rows(text)
    assert "Olga Ray" in row
    assert "Runaway algorithm" in row
    assert "Rejected: EXCHANGE_UNREACHABLE" in row
    assert "/requests/?period=week&amp;outcome=not_confirmed" in text


def test_yesterday_is_two_clicks_away_and_says_so(officer: Client, olga: User) -> None:
    batch = cancel(olga, Status.CONFIRMED)
    at = (datetime.now(UTC) - timedelta(days=1)).replace(hour=14, minute=3, second=22)
    Batch.objects.filter(pk=batch.pk).update(asked_at=at)
    cancel(olga, Status.CONFIRMED)
    text = page(officer)
    assert f'data-revision="{current()}"' in text
    assert 'href="/requests/?period=yesterday">Yesterday</a>' in text
    (row,) = rows(page(officer, "period=yesterday"))
    assert "yesterday 14:03:22" in row
    assert f'title="{at:%Y-%m-%d} 14:03:22' in row


def test_a_link_changes_one_field_of_the_filter_and_marks_the_current_one(
    officer: Client, olga: User
) -> None:
    cancel(olga, Status.REJECTED, Status.SENDING)
    text = page(officer, "from=2026-01-02&outcome=rejected&size=100")
    assert link(text, "Today") == "period=today&outcome=rejected&size=100"
    assert link(text, "Any time") == "outcome=rejected&size=100"
    assert link(text, "Any outcome") == "period=custom&from=2026-01-02&size=100"
    assert link(text, "200") == "period=custom&from=2026-01-02&outcome=rejected&size=200"
    assert re.findall(r'aria-current="true"\s*>(\w+)</a>', text) == ["Rejected", "100"]
    text = page(officer, "outcome=not_confirmed&period=week&exchange=VENUE")
    in_progress = link(text, "1 more request in progress")
    assert in_progress == "period=week&exchange=VENUE&outcome=in_progress"
    assert "more request" not in page(officer, "outcome=in_progress")


def test_pages_have_a_size_a_count_and_no_gaps(
    officer: Client, olga: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange = factories.exchange("KRAKEN")
    presses = [factories.press(olga, exchange) for _ in range(105)]
    first = page(officer, "exchange=KRAKEN")
    assert "<b>50 of 105 cancels</b>" in first
    pages, text = [first], first
    while match := re.search(r'href="\?([^"]+)" rel="next"', text):
        assert match[1].startswith("exchange=KRAKEN&amp;before=")
        text = page(officer, match[1].replace("&amp;", "&"))
        pages.append(text)
    assert "<b>51 to 100 of 105 cancels</b>" in pages[1]
    assert "<b>101 to 105 of 105 cancels</b>" in pages[2]
    ids = [found for text in pages for found in re.findall(r'data-request-id="([^"]+)"', text)]
    assert len(ids) == len(set(ids)) == 105
    large = page(officer, "size=200")
    assert len(rows(large)) == 105
    assert "<b>105 cancels</b>" in large
    last = page(officer, f"exchange=KRAKEN&before={presses[50].pk}")
    assert "<b>56 to 105 of 105 cancels</b>" in last
    assert 'rel="next"' not in last, "exactly 50 were left"
    monkeypatch.setattr(request_list, "MAX_COUNTED", 104)
    assert "<b>50 of more than 104 cancels</b>" in page(officer)
    monkeypatch.setattr(request_list, "MAX_COUNTED", 54)
    last = page(officer, f"before={presses[50].pk}")
    assert "<b>50 older ones of more than 54 cancels</b>" in last
    monkeypatch.setattr(request_list, "MAX_COUNTED", 105)
    assert "<b>50 of 105 cancels</b>" in page(officer)


@pytest.mark.parametrize("before", ["x", "-1", "²", "9" * 5000, ""])
def test_an_invalid_page_of_the_list_is_the_newest(officer: Client, before: str) -> None:
    assert officer.get("/requests/", {"before": before}).status_code == 200


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("outcome", "failed"),
        ("exchange", "NOWHERE"),
        ("person", "nobody"),
        ("from", "tomorrow"),
        ("q", "x" * 300),
        ("by", "robots"),
    ],
)
def test_a_wrong_value_is_explained_next_to_its_field_and_lists_nothing(
    officer: Client, olga: User, field: str, value: str
) -> None:
    cancel(olga, Status.REJECTED)
    text = page(officer, f"reason=kept&{field}={value}", status=400)
    assert "Check the filter. Nothing is listed until the filter is valid." in text
    assert f'aria-describedby="e-{field}"' in text
    assert f'<p id="e-{field}" class="badc">' in text
    assert rows(text) == []
    assert "data-request-id" not in text
    assert 'name="reason" type="text" value="kept"' in text


def test_an_unknown_name_in_the_address_is_refused_in_words(officer: Client) -> None:
    text = page(officer, "exchnage=KRAKEN&size=7", status=400)
    assert "There is no filter “exchnage”. Check the link." in text
    assert "Per page: Choose 50, 100 or 200." in text


def test_hostile_values_are_shown_harmlessly(officer: Client) -> None:
    hostile = "%3Cb%3E%22%E2%80%AE%1B"
    for field in ("outcome", "exchange", "person", "from", "to", "period", "q", "reason", "by"):
        text = html(officer.get(f"/requests/?{field}={hostile}"))
        assert '<b>"' not in text
        assert not {"\u202e", "\x1b"} & set(text), field


def test_an_id_leads_to_its_page(officer: Client, olga: User) -> None:
    batch = cancel(olga, Status.RESIDUAL)
    request = batch.requests.get()
    answer = officer.get("/requests/", {"q": f" {request.uuid} "})
    assert (answer.status_code, answer["Location"]) == (302, f"/requests/{request.uuid}/")
    answer = officer.get("/requests/", {"q": str(batch.uuid).upper()})
    assert answer["Location"] == f"/batches/{batch.uuid}/"
    order = request.residual_orders.all()[0]
    assert len(rows(page(officer, f"q={order.client_order_id}"))) == 1
    assert "No cancels match." in page(officer, "q=00000000-0000-0000-0000-000000000000")


def test_a_count_that_stopped_early_says_so(officer: Client, olga: User) -> None:
    batch = cancel(olga, Status.CONFIRMED)
    request = batch.requests.get()
    count = MAX_COUNTED_IN_NOTE + 1
    batches = Batch.objects.bulk_create(
        Batch(
            key=f"hold{number}",
            by_name="system",
            by_role="",
            asked_at=batch.asked_at,
            origin="HOLD",
        )
        for number in range(count)
    )
    copied = ["configured_exchange_id", "exchange_id", "status", "first_claimed_at", "finished_at"]
    copied += ["open_after", "open_after_read_at", "revision"]
    fields = {name: getattr(request, name) for name in copied}
    CancelRequest.objects.bulk_create(CancelRequest(batch=row, **fields) for row in batches)
    assert "Not shown: more than 1,000 requests of Holds" in words(page(officer))
    CancelRequest.objects.filter(batch=batches[0]).delete()
    assert "Not shown: 1,000 requests of Holds" in words(page(officer))


def test_empty_lists_say_what_to_do(officer: Client, olga: User) -> None:
    assert "No cancels yet. Each cancel that is requested" in words(page(officer, "size=100"))
    batch = cancel(olga, Status.CONFIRMED)
    text = words(page(officer, "outcome=rejected"))
    assert (
        "No cancels match. Choose a longer period or another outcome, or clear the filter" in text
    )
    text = words(page(officer, f"before={batch.pk}"))
    assert "0 older ones of 1 cancels" in text
    assert "No older cancels. Show the newest" in text


def test_the_title_says_what_is_listed(officer: Client, olga: User) -> None:
    cancel(olga, Status.REJECTED)
    assert "<title>Requests · Kill switch ·" in page(officer).replace("(1) ", "")
    assert "Requests: not confirmed · Kill switch ·" in page(officer, "outcome=not_confirmed")


def test_no_row_is_a_query_or_an_address_to_reverse_and_few_are_templates(
    officer: Client, olga: User
) -> None:
    counts, rendered = [], []
    queries = ("", "outcome=not_confirmed&period=week", "q=VENUE&person=olga", "exchange=VENUE")
    for size in (3, 9):
        for _ in range(size):
            cancel(olga, Status.REJECTED, Status.CONFIRMED, Status.SENDING)
        Batch.objects.update(retry_of=Batch.objects.earliest("pk"))
        Alarm.objects.all().delete()  # the panel above the list counts many alarms apart
        for query in queries:
            with CaptureQueriesContext(connection) as captured, counted() as of_page:
                text = page(officer, query)
            counts.append((len(captured), of_page["reverse"]))
            # A row is two templates and one for each request.
            per_row = 2 * len(rows(text)) + text.count("data-request-id")
            rendered.append(of_page["render"] - per_row)
    assert counts[: len(queries)] == counts[len(queries) :]
    assert rendered[: len(queries)] == rendered[len(queries) :]
    assert max(counts)[0] <= MAX_QUERIES


def poll(client: Client, name: str, *, known: int) -> str:
    return html(client.get("/poll/", {"show": f"requests:{name}", "known": str(known)}))


def page_name(text: str) -> str:
    match = re.search(r'name="show" value="requests:([^"]+)"', text)
    assert match
    return match[1].replace("&amp;", "&")


def test_a_row_that_no_longer_matches_stays_with_its_new_status(
    officer: Client, olga: User
) -> None:
    batch = cancel(olga, Status.SENDING, Status.SENDING, Status.CONFIRMED)
    first, second, _ = batch.requests.order_by("id")
    name = page_name(page(officer, "outcome=in_progress"))
    known = current()
    factories.bring(first, Status.REJECTED)
    text = poll(officer, name, known=known)
    assert f'id="c{batch.pk}" data-into="requests" data-first' in text
    known = current()
    factories.bring(second, Status.CONFIRMED)
    text = poll(officer, name, known=known)
    assert f'id="c{batch.pk}" class="bad-row"' in text, "it is updated, and not added again"
    assert re.findall(r'data-status="(\w+)"', text) == ["REJECTED", "CONFIRMED"]


def test_only_matching_cancels_are_added_to_an_open_page(officer: Client, olga: User) -> None:
    cancel(olga, Status.CONFIRMED)
    name = page_name(page(officer, "outcome=not_confirmed"))
    known = current()
    other = cancel(olga, Status.CONFIRMED)
    failed = cancel(olga, Status.REJECTED)
    text = poll(officer, name, known=known)
    assert f'id="c{failed.pk}" data-into="requests" data-first' in text
    assert f'id="c{other.pk}" data-into' not in text
    assert text.index(f'id="c{other.pk}"') < text.index(f'id="c{failed.pk}"'), "oldest first"


def test_a_page_of_yesterday_is_loaded_again(officer: Client, olga: User) -> None:
    name = page_name(page(officer))
    known = current()
    cancel(olga, Status.CONFIRMED)
    today = str(datetime.now(UTC).date())
    assert today in name
    for outdated in (name.replace(today, "2026-01-01"), name.replace(today, "x")):
        answer = officer.get("/poll/", {"show": f"requests:{outdated}", "known": str(known)})
        assert answer["HX-Refresh"] == "true"


@pytest.mark.parametrize(
    "name",
    ["newest:12", "newest:::exchange=gone", "x:y:z", "x", "", "::::", "5:::a=b", "5:x:y:z"],
)
def test_a_page_that_the_poller_does_not_understand_is_loaded_again(
    officer: Client, olga: User, name: str
) -> None:
    known = current()
    cancel(olga, Status.CONFIRMED)
    answer = officer.get("/poll/", {"show": f"requests:{name}", "known": str(known)})
    assert answer["HX-Refresh"] == "true"


def export(client: Client, query: str = "") -> list[dict[str, str]]:
    answer: Any = client.get(f"/requests/export.csv?{query}")
    assert answer.status_code == 200
    text = answer.getvalue().decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text)))


def test_the_export_has_a_line_for_each_request_that_the_filter_selects(
    compliance: Client, olga: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests_csv, "BATCH_ROWS", 2)
    first = cancel(olga, Status.CONFIRMED, reason="Drill, first")
    batch = cancel(olga, *(Status.REJECTED,) * 5, Status.CONFIRMED, everywhere=True)
    Batch.objects.filter(pk=batch.pk).update(retry_of=first, group_name="Desk A")
    lines = export(compliance)
    assert len(lines) == 7
    assert list(lines[0]) == list(requests_csv.COLUMNS)
    request = first.requests.get()
    line = lines[-1]
    assert line["requested_at_utc"] == f"{request.batch.asked_at:%Y-%m-%d %H:%M:%S.%f}"[:-3]
    assert line["finished_at_utc"].startswith(f"{request.finished_at:%Y-%m-%d %H:%M:%S.}")
    assert (line["exchange_id"], line["status"], line["status_code"]) == (
        request.exchange_id,
        "Confirmed, none open",
        "CONFIRMED",
    )
    assert (line["requested_by"], line["role"], line["reason"]) == (
        "Olga Ray (olga)",
        "Risk officer",
        "Drill, first",
    )
    assert line["request_id"] == str(request.uuid)
    assert float(line["duration_s"]) >= 12
    failed = export(compliance, "outcome=not_confirmed&size=50&before=1")
    assert len(failed) == 5
    assert {row["status"] for row in failed} == {"Rejected"}
    assert {row["retry_of"] for row in failed} == {str(first.uuid)}
    assert {row["everywhere"] for row in failed} == {"yes"}
    assert {row["group"] for row in failed} == {"Desk A"}


def test_an_export_is_recorded_with_its_filter_before_it_starts(
    officer: Client, olga: User
) -> None:
    cancel(olga, Status.REJECTED, Status.CONFIRMED)
    answer: Any = officer.get("/requests/export.csv?outcome=not_confirmed&period=today")
    event = AuditEvent.objects.get(kind="REQUESTS_EXPORTED")
    assert event.actor == "Olga Ray (olga)"
    data = json.loads(event.data)
    today = str(datetime.now(UTC).date())
    assert data["filter"] == {
        "outcome": "not_confirmed",
        "period": "today",
        "from": today,
        "to": today,
    }
    assert data["count"] == 1
    assert data["address"] == "127.0.0.1"
    assert f"-{event.seq}.csv" in answer["Content-Disposition"]
    assert "no-store" in answer["Cache-Control"]
    assert answer["Content-Type"].startswith("text/csv")
    assert answer["Content-Disposition"].startswith("attachment; ")
    assert len(answer.getvalue().decode().splitlines()) == 2


def test_each_value_of_a_request_is_in_its_column(compliance: Client, olga: User) -> None:
    first = cancel(olga, Status.CONFIRMED)
    venue = factories.exchange("KRAKEN/JOHN", name="Kraken")
    batch = factories.press(olga, venue, reason="Drill", address="192.0.2.7")
    request = factories.bring(batch.requests.get(), Status.CONFIRMED)
    at = datetime(2026, 11, 28, 14, 3, 22, 123456, tzinfo=UTC)
    Batch.objects.filter(pk=batch.pk).update(
        asked_at=at,
        completed_reason="Added later",
        origin=Origin.COMMAND_LINE,
        group_name="Desk A",
        retry_of=first,
    )
    fields: dict[str, Any] = {"open_before": 5, "open_after": 0, "reopened_orders": 3}
    fields |= {"attempt_count": 2, "reads": 4, "reject_reason": "BUSY", "conclusion": "None left."}
    fields |= {"first_claimed_at": at + timedelta(seconds=1)}
    fields |= {"finished_at": at + timedelta(seconds=12), "reopened_at": at + timedelta(seconds=20)}
    rows_of_request = CancelRequest.objects.filter(pk=request.pk)
    rows_of_request.update(**fields)
    for attempt in request.attempts.all():
        attempt.started_at = at + timedelta(seconds=attempt.number)
        attempt.save()
    line, other = export(compliance)
    assert line == {
        "requested_at_utc": "2026-11-28 14:03:22.123",
        "exchange_id": "KRAKEN/JOHN",
        "exchange_name": "Kraken",
        "status": "Orders open again",
        "status_code": "CONFIRMED",
        "reject_reason": "BUSY",
        "conclusion": "None left.",
        "requested_by": "Olga Ray (olga)",
        "role": "Risk officer",
        "reason": "Drill",
        "added_reason": "Added later",
        "origin": "Command line",
        "group": "Desk A",
        "everywhere": "no",
        "retry_of": str(first.uuid),
        "open_before": "5",
        "open_after": "0",
        "reopened_at_utc": "2026-11-28 14:03:42.123",
        "reopened_orders": "3",
        "attempts": "2",
        "checks": "4",
        "first_attempt_at_utc": "2026-11-28 14:03:23.123",
        "finished_at_utc": "2026-11-28 14:03:34.123",
        "duration_s": "12.000",
        "request_id": str(request.uuid),
        "cancel_id": str(batch.uuid),
        "address": "192.0.2.7",
    }
    assert (other["reopened_at_utc"], other["reopened_orders"], other["retry_of"]) == ("", "", "")
    rows_of_request.update(first_claimed_at=at + timedelta(seconds=13))
    assert export(compliance)[0]["duration_s"] == "", "the clocks of two hosts differ"


def test_a_request_that_comes_during_an_export_is_not_in_it(officer: Client, olga: User) -> None:
    cancel(olga, Status.REJECTED)
    answer: Any = officer.get("/requests/export.csv")
    cancel(olga, Status.REJECTED)
    assert len(answer.getvalue().decode().splitlines()) == 2


@pytest.mark.parametrize("formula", ["=1+1", "+1", "-1", "@x", "\t=1", "a;=1", "\uff1d1"])
def test_no_cell_of_an_export_is_a_formula(officer: Client, olga: User, formula: str) -> None:
    batch = cancel(olga, Status.REJECTED)
    Batch.objects.filter(pk=batch.pk).update(reason=formula)
    CancelRequest.objects.update(reject_reason=formula)
    (line,) = export(officer)
    for name in ("reason", "reject_reason"):
        assert line[name] != formula
        assert line[name].replace("'", "") == formula


def test_an_export_that_cannot_be_recorded_is_refused(olga: User) -> None:
    client = Client(raise_request_exception=False)
    client.force_login(olga)
    cancel(olga, Status.REJECTED)
    with nothing_can_be_written():
        answer = client.get("/requests/export.csv")
        assert answer.status_code == 503
        assert "Content-Disposition" not in answer.headers
        text = html(answer)
    assert "The export was not started" in text
    assert "It could not be recorded in the audit log." in text


def test_a_wrong_choice_stays_in_its_field(officer: Client) -> None:
    page = html(officer.get("/requests/?outcome=confirmd&by=%3Cb%3E"))
    assert "<option selected>confirmd</option>" in page
    assert "<option selected>&lt;b&gt;</option>" in page


@pytest.mark.parametrize(
    ("day", "kind"), [("28.11.2026", "text"), ("2026-02-30", "text"), ("2026-11-28", "date")]
)
def test_a_wrong_day_stays_in_its_field(officer: Client, day: str, kind: str) -> None:
    """An input for a day shows any other text as empty."""
    for name in ("from", "to"):
        text = " ".join(html(officer.get(f"/requests/?{name}={day}")).split())
        assert f'name="{name}" type="{kind}" value="{day}"' in text


def test_an_export_with_a_wrong_filter_is_refused_and_recorded_nowhere(officer: Client) -> None:
    answer = officer.get("/requests/export.csv?outcome=failed&x=%3Cb%3E")
    assert answer.status_code == 400
    assert "“failed” is not an outcome." in html(answer)
    assert "<b>" not in html(answer)
    answer = officer.get("/requests/export.csv", headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 403
    assert officer.head("/requests/export.csv").status_code == 405
    assert not AuditEvent.objects.filter(kind="REQUESTS_EXPORTED").exists()


def test_administrators_and_strangers_get_no_export(olga: User) -> None:
    client = Client()
    assert client.get("/requests/export.csv").status_code == 302
    client.force_login(factories.person(Role.ADMINISTRATOR))
    assert client.get("/requests/export.csv").status_code == 403
    assert not AuditEvent.objects.filter(kind="REQUESTS_EXPORTED").exists()


def test_every_status_of_a_console_has_a_row(officer: Client, olga: User) -> None:
    scenes.console(olga)
    text = page(officer)
    assert {row.status for row in CancelRequest.objects.all()} == set(
        re.findall(r'data-status="(\w+)"', text)
    )


def test_an_export_that_fails_half_way_does_not_look_complete(
    compliance: Client, olga: User
) -> None:
    cancel(olga, Status.REJECTED)
    answer: Any = compliance.get("/requests/export.csv")
    received: list[bytes] = []
    with connection.execute_wrapper(lose_connection), pytest.raises(OperationalError):
        received.extend(answer)
    assert len(received) == 2
    assert received[1].startswith(b'"INCOMPLETE: the export failed here.')
