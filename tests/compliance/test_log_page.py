"""The pages of the log: filters, counts and links, and that a page stays the same."""

import json
import re
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from killswitch.audit import filters
from killswitch.audit.chain import NewEvent
from killswitch.audit.event_search import EventSearch
from killswitch.audit.filters import EventFilter
from killswitch.audit.models import AuditEvent, EventKind
from killswitch.cancels.conclusion import CALM_REFUSAL
from killswitch.cancels.states import Status
from killswitch.compliance import log_filter
from killswitch.compliance.log_page import tally
from killswitch.runtime.filter_values import PAGE_SIZES
from tests.audit import event_factories, request_factories
from tests.audit.log import record
from tests.audit.request_factories import START, request
from tests.markup import html

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]


def page(reader: Client, query: str = "", *, status: int = 200) -> str:
    answer = reader.get(query if query.startswith("/") else f"/audit/{query}")
    assert answer.status_code == status
    return html(answer)


def seqs(text: str) -> list[int]:
    """Return the events of a page from the top."""
    return [int(seq) for seq in re.findall(r'<tr id="e(\d+)">', text)]


def link(text: str, name: str) -> str:
    """Return the address of the link or button with this name."""
    match = re.search(rf'href="([^"]+)"[^>]*> ?{name} ?<', text)
    assert match, text
    return match[1].replace("&amp;", "&")


def test_an_event_is_shown_in_words_with_its_number_time_person_and_status(reader: Client) -> None:
    request(0, at=START, status="RESIDUAL", reason="Runaway algorithm")
    text = page(reader)
    assert seqs(text) == [3, 2, 1]
    assert "2026-03-02 09:30:00.400000" in text
    for words in (
        "Cancel requested",
        "Cancel on this exchange; 14 open orders before the request. Reason: “Runaway algorithm”",
        "Olga Ray (olga) <small>Risk officer</small>",
        "KRAKEN",
        "3 orders still open",
        'class="i-left"',
        f'href="/requests/{request_factories.uuid(0)}/"',
        AuditEvent.objects.get(seq=2).hash,
        AuditEvent.objects.get(seq=2).previous,
    ):
        assert words in text
    assert "Attempt 1: accepted by the EMS, HTTP 200, 20 ms. “Ok”" in text


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?kind=FINISHED", [6, 3]),
        ("?exchange=KRAKEN/JOHN", [6, 5, 4]),
        ("?actor=Ada+Stone+(ada)", [9, 8, 7]),
        ("?actor=OLGA&status=not+confirmed", [6]),
        ("?exchange=kraken&kind=FINISHED&status=NOT_CONFIRMED", [6]),
        ("?kind=CHANGES", [9, 8]),
        ("?kind=ATTEMPT&actor=ada", []),
        ("?status=REJECTED", [6]),
        ("?reject_reason=EXCHANGE_UNREACHABLE", [6, 5]),
        ("?reject_reason=unreach", [6, 5]),
        ("?text=runaway", [1]),
        ("?text=caveat&kind=EXCHANGE_CHANGED", [8]),
        ("?from=2026-03-03&to=2026-03-03", [6, 5, 4]),
        ("?from=2026-03-03T09:30:00.02", [9, 8, 7, 6, 5]),
        ("?unreviewed=1", [9, 8, 7, 6, 4, 3, 1]),
        ("?unreviewed=1&kind=DENIED", [7]),
        (f"?request={request_factories.uuid(1)}&kind=ATTEMPT", [5]),
    ],
)
def test_each_filter_shows_what_it_selects_and_how_many(
    reader: Client, query: str, expected: list[int]
) -> None:
    request(0, at=START)
    later = START + timedelta(days=1)
    request(1, at=later, status="REJECTED", exchange="KRAKEN/JOHN", reason="")
    request_factories.denied(later + timedelta(days=1))
    request_factories.changed(later + timedelta(days=1))
    text = page(reader, query)
    assert seqs(text) == expected
    assert f"<b>{len(expected)} event{'' if len(expected) == 1 else 's'}</b>" in text


def test_pages_stay_the_same_while_new_events_arrive(reader: Client) -> None:
    record(*(NewEvent(kind=EventKind.DENIED) for _ in range(2 * PAGE_SIZES[0] + 5)))
    first = page(reader)
    assert seqs(first) == list(range(105, 55, -1))
    older = link(first, "Older")
    record(*(NewEvent(kind=EventKind.SIGNED_IN) for _ in range(7)))
    second = page(reader, older)
    assert seqs(second) == list(range(55, 5, -1))
    third = page(reader, link(second, "Older"))
    assert seqs(third) == [5, 4, 3, 2, 1]
    assert "Older" not in third
    assert seqs(page(reader, link(third, "Newer"))) == seqs(second)
    assert seqs(page(reader, link(page(reader, older), "Newer"))) == seqs(first)


@pytest.fixture
def short_searches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Search a text in three events at once, as if they were many."""
    search = partial(EventSearch, few=0, max_searched=3)
    monkeypatch.setattr(filters, "EventSearch", search)


def denied(*paths: str) -> None:
    """Record a denial for each path, a minute apart."""
    for minute, path in enumerate(paths):
        request_factories.denied(START + timedelta(minutes=minute), path=path)


@pytest.mark.usefixtures("short_searches")
def test_a_text_is_searched_part_by_part_and_the_page_says_how_far(reader: Client) -> None:
    denied("/match/", "/2/", "/match/", "/4/", "/5/", "/6/", "/7/", "/8/")
    first = page(reader, "?text=match")
    assert seqs(first) == []
    assert "No match in the newest 3 events, back to event 6 (2 Mar 2026, 09:35:00 UTC)." in first
    assert "<b>no events so far</b>" in first
    assert "No events match" not in first
    second = page(reader, link(first, "Search older events"))
    assert seqs(second) == [3]
    assert "Searched 3 older events, back to event 3 (2 Mar 2026, 09:32:00 UTC)." in second
    assert "<b>1 event on this page</b>" in second
    assert "Older" not in re.findall(r">\s*(\w+)\s*</a>", second)
    third = page(reader, link(second, "Search older events"))
    assert seqs(third) == [1]
    assert "Search older events" not in third, "that was the whole log"


@pytest.mark.usefixtures("short_searches")
def test_a_text_is_searched_part_by_part_towards_newer_events_too(reader: Client) -> None:
    denied("/1/", "/2/", "/3/", "/4/", "/5/", "/match/")
    text = page(reader, "?text=match&after=1")
    assert "No match in 3 newer events, up to event 4 (2 Mar 2026, 09:33:00 UTC)." in text
    assert seqs(page(reader, link(text, "Search newer events"))) == [6]


def test_a_full_page_of_matches_says_that_there_may_be_more(
    reader: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = PAGE_SIZES[0] + 10
    monkeypatch.setattr(filters, "EventSearch", partial(EventSearch, few=0, max_searched=part))
    denied(*["/match/"] * (part + 5))
    first = page(reader, "?text=match")
    assert f"<b>{PAGE_SIZES[0]} of {part}+ events</b>" in first
    assert "Search older events" not in first, "the rest of this part comes first"
    rest = page(reader, link(first, "Older"))
    assert seqs(rest) == list(range(15, 0, -1))
    assert "<b>15 events on this page</b>" in rest


@pytest.mark.usefixtures("short_searches")
def test_a_search_of_some_days_says_so(reader: Client) -> None:
    denied("/1/", "/2/", "/3/", "/4/", "/5/")
    text = page(reader, "?text=match&to=2026-03-02T09:34")
    assert "No match in the newest 3 events of this time range, back to event 2 (2 Mar" in text


@pytest.mark.usefixtures("short_searches")
def test_an_export_searches_a_text_in_all_events(reader: Client) -> None:
    denied("/match/", "/2/", "/3/", "/4/", "/5/")
    assert list(EventFilter(text="match").events().values_list("seq", flat=True)) == [1]
    exported = reader.get("/audit/export.jsonl?text=match").getvalue()
    assert b"/match/" in exported


@pytest.mark.parametrize("query", ["?kind=DENIED", "?from=2026-03-02"])
def test_a_filter_is_kept_from_page_to_page_and_both_ways(reader: Client, query: str) -> None:
    for number in range(2 * PAGE_SIZES[0] + 3):
        at = START + timedelta(seconds=number // 2)  # two events of one instant
        request_factories.denied(at)
    pages: list[list[int]] = [seqs(page(reader, query))]
    text = page(reader, query)
    while "Older" in text:
        text = page(reader, link(text, "Older"))
        pages.append(seqs(text))
    assert [seq for seqs_of_page in pages for seq in seqs_of_page] == list(range(103, 0, -1))
    assert seqs(page(reader, link(text, "Newer"))) == pages[-2]
    assert query[1:5] in link(text, "Newest")


def test_links_to_the_filter_and_to_its_exports_keep_it(reader: Client) -> None:
    request(0, at=START, exchange="KRAKEN/JÖHN")
    text = page(reader, "?exchange=KRAKEN%2FJ%C3%96HN&kind=finished&text=&status=")
    query = "?exchange=KRAKEN%2FJ%C3%96HN&kind=FINISHED"
    assert link(text, "Link to this filter") == f"/audit/{query}"
    assert link(text, "CSV for reading") == f"/audit/export-readable.csv{query}"
    assert link(text, "CSV for verifying") == f"/audit/export.csv{query}"
    exported = reader.get(link(text, "JSON Lines for verifying")).getvalue().splitlines()
    assert len(exported) == 3
    assert 'value="KRAKEN/JÖHN"' in text
    assert '<option value="FINISHED" selected>' in page(reader, "?kind=FINISHED")


def test_an_outcome_names_its_requester_and_the_reason(reader: Client) -> None:
    """Also the outcomes that earlier versions have recorded without them."""
    request_id = request(0, at=START, reason="Runaway algorithm")
    text = page(reader, "?kind=FINISHED")
    assert "requested by <b>Olga Ray (olga)</b>" in text
    assert "Reason: “Runaway algorithm”" in text
    added = NewEvent(
        kind=EventKind.REASON_COMPLETED, request_id=request_id, data={"reason": "Limit <breach>"}
    )
    request_factories.log_at(START + timedelta(hours=1), added)
    assert "Reason, added later: “Limit &lt;breach&gt;”" in page(reader, "?kind=FINISHED")
    alone = {"requested_by": "Ben Ray (ben)", "reason": "Drill"}
    record(NewEvent(kind=EventKind.FINISHED, status="UNKNOWN", data=alone))
    assert "requested by <b>Ben Ray (ben)</b>" in page(reader, "?status=UNKNOWN")


def test_an_outcome_of_a_product_names_its_requester_in_its_event(reader: Client) -> None:
    residual = event_factories.live()["residual"]
    (event,) = AuditEvent.objects.filter(kind="FINISHED", request_id=str(residual.uuid))
    data = json.loads(event.data)
    assert (data["requested_by"], data["reason"]) == ("olga", "drill 漢字")
    text = page(reader, "?kind=FINISHED&actor=OLGA")
    assert str(residual.uuid) in text
    assert "Reason, added later: “runaway algorithm”" in text


@pytest.mark.parametrize("status", [*Status, "OF_TOMORROW", ""])
def test_no_event_of_the_past_looks_as_if_it_went_on(reader: Client, status: str) -> None:
    record(*(NewEvent(kind=kind, status=status) for kind in EventKind))
    row = page(reader).split("<tbody>")[1].split("</tbody>")[0]
    for sign in ("busy", "i-clock", "i-arrow", "i-lens", "not sent yet", "Sending the cancel"):
        assert sign not in row
        assert sign not in page(reader, "/audit/events/3/").split("<h1>")[1]


def test_a_refusal_with_no_orders_open_is_no_alarm_on_the_page(reader: Client) -> None:
    data = {"conclusion": f"{CALM_REFUSAL} EMPTY."}
    record(NewEvent(kind=EventKind.FINISHED, status="REJECTED", data=data))
    assert "Rejected, none open" in page(reader, "?status=rejected")
    assert seqs(page(reader, "?status=not+confirmed")) == []


def test_a_page_has_as_many_events_as_are_chosen_and_keeps_what_was_typed(reader: Client) -> None:
    record(*(NewEvent(kind=EventKind.DENIED) for _ in range(130)))
    today = f"{timezone.now():%Y-%m-%d}"
    text = page(reader, f"?from={today}&to={today}&kind=denied")
    assert "<b>50 of 130 events</b>" in text
    older = page(reader, link(text, "Older"))
    assert older.count(f'value="{today}"') == 2, "From and To, as they were typed"
    hundred = page(reader, link(older, "100"))
    assert len(seqs(hundred)) == 100
    assert "<b>100 of 130 events</b>" in hundred
    assert len(seqs(page(reader, link(hundred, "Older")))) == 30


def test_days_and_useful_filters_are_links(reader: Client) -> None:
    request_factories.denied(START)
    today = timezone.now().date()
    text = page(reader, "?kind=DENIED&after=1")
    for name, first, last in (
        ("Today", today, today),
        ("Yesterday", today - timedelta(days=1), today - timedelta(days=1)),
        ("Last 7 days", today - timedelta(days=6), today),
        ("This month", today.replace(day=1), today),
    ):
        assert link(text, name) == f"/audit/?kind=DENIED&from={first}&to={last}"
    for name in (
        "Failed cancels, 7 days",
        "Unreviewed",
        "Failed sign-ins, 7 days",
        "Administration, this month",
    ):
        page(reader, link(text, name))


def test_every_event_type_is_offered_in_a_group() -> None:
    groups = dict(log_filter.kind_choices())
    assert "Other" not in groups
    offered = [kind for choices in groups.values() for kind, _ in choices]
    assert sorted(offered) == sorted([*EventKind, "CHANGES"])


def test_a_time_in_an_address_is_shown_although_the_field_is_for_days(reader: Client) -> None:
    text = page(reader, "?from=2026-03-02T08:30")
    assert re.search(r'name="from" type="text" value="2026-03-02T08:30"', text)
    assert re.search(r'name="to" type="date"', text)


@pytest.mark.parametrize(
    "address",
    ["/audit/", "/audit/review/", "/audit/sign-offs/", "/audit/outcomes/", "/audit/events/1/"],
)
def test_the_navigation_marks_the_audit_log_on_each_of_its_pages(
    reader: Client, address: str
) -> None:
    request_factories.denied(START)
    navigation = page(reader, address).split('aria-label="Main"')[1].split("</nav>")[0]
    assert re.search(r'href="/audit/" aria-current="(page|true)">Audit log', navigation)


def test_large_numbers_are_counted_only_up_to_a_limit() -> None:
    record(*(NewEvent(kind=EventKind.DENIED, status="X") for _ in range(120)))
    record(*(NewEvent(kind=EventKind.SIGNED_IN) for _ in range(30)))
    assert tally(EventFilter(kind="DENIED"), max_counted=100) == "100+ events"
    assert tally(EventFilter(kind="SIGNED_IN"), max_counted=100) == "30 events"
    assert tally(EventFilter(), max_counted=100) == "100+ events"


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("from=yesterday", "From: “yesterday” is not a day. Write it as 2026-11-28."),
        (
            "from=2026-11-23&to=2026-11-22",
            "To: The range is empty. Choose an earlier start or a later end.",
        ),
        ("kind=NONSENSE", "Event type: “NONSENSE” is not an event type. Choose one, such as"),
        ("status=a%20b", "Status: “a b” is not a status"),
        ("request=17", "Request: “17” is not the ID of a request."),
        ("text=%00", "text: This contains a character that cannot be searched for."),
        (f"text={'x' * 5000}", "text: Enter at most 200 characters."),
        ("unreviewed=perhaps", "Unreviewed only: Use 1, or leave it out."),
        ("exchnage=KRAKEN", "There is no filter “exchnage”. Check the link."),
        ("kind=DENIED&kind=ATTEMPT", "Event type appears more than once. Use it once."),
        ("before=99", "before: There is no event “99”"),
        ("before=x", "before: There is no event “x”"),
        ("after=-1", "after: There is no event “-1”"),
        (f"before={'9' * 30}", "before: There is no event"),
        ("actor=%ff%fe", "User: No event has “��”."),
        ("exchange=krakn", "Exchange: No event has “krakn”."),
        ("status=failed", "“failed” is not a status. Choose one, such as “Not confirmed”."),
        ("size=7", "Per page: Choose 50, 100 or 200."),
        ("from=%F0%9F%9B%91", "From: “🛑” is not a day."),
        ("from=%D9%A2%D9%A0%D9%A2%D9%A6-01-01", "is not a day."),
    ],
)
def test_an_invalid_filter_is_explained_and_kept(reader: Client, query: str, error: str) -> None:
    request_factories.denied(START)
    kept = "" if query.startswith("text=") else "&text=kept%3Cb%3E"
    text = page(reader, f"?{query}{kept}", status=400)
    assert error in text
    assert not kept or 'value="kept&lt;b&gt;"' in text
    assert '<tr id="e' not in text, "no events that a reader could take for the selected ones"
    assert "Traceback" not in text


def test_the_filter_suggests_the_values_in_the_log(reader: Client) -> None:
    request(0, at=START, status="REJECTED", exchange="BITSTAMP/2574")
    text = page(reader)
    for value in ("BITSTAMP/2574", "EXCHANGE_UNREACHABLE", "Olga Ray (olga)"):
        assert f'<option value="{value}"></option>' in text
    assert '<option value=""></option>' not in text


def test_an_empty_log_says_so(reader: Client) -> None:
    assert "The log is empty." in page(reader)
    assert "No events match." in page(reader, "?kind=DENIED")


def test_a_page_costs_the_same_number_of_queries_however_full_it_is(
    reader: Client, django_assert_max_num_queries: Any
) -> None:
    page(reader)
    for number in range(20):
        request(number, at=START)
    with django_assert_max_num_queries(20):
        page(reader)
