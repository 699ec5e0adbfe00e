"""What is asked for is what is selected; what cannot be understood is refused by name."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db.models import Q
from django.http import QueryDict
from hypothesis import given
from hypothesis import strategies as st

from killswitch.audit.actors import Actor
from killswitch.audit.chain import NewEvent
from killswitch.audit.distinct_values import contains
from killswitch.audit.event_kinds import CHANGE_KINDS
from killswitch.audit.filter_fields import (
    FIELDS,
    NOT_CONFIRMED_STATUSES,
    status_labels,
)
from killswitch.audit.filters import EventFilter
from killswitch.audit.models import AuditEvent, EventKind
from killswitch.cancels.states import FINAL, LABELS, Status
from killswitch.runtime.filter_values import InvalidFilter
from tests.audit.export.export_helpers import OLGA, REQUEST, fill, rows
from tests.audit.log import record

both = [pytest.mark.django_db, pytest.mark.both_databases]
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)


def _from(query: str) -> EventFilter:
    return EventFilter.from_query(QueryDict(query))


def _refused(query: str) -> InvalidFilter:
    with pytest.raises(InvalidFilter) as refused:
        _from(query)
    return refused.value


def _tried(words: dict[str, str]) -> EventFilter | InvalidFilter:
    try:
        return EventFilter.from_words(words)
    except InvalidFilter as refused:
        return refused


def _seqs(selection: EventFilter) -> list[int]:
    return [event.seq for event in selection.events().order_by("seq")]


def test_nothing_given_selects_the_whole_log() -> None:
    for query in ("", "kind=&from=+&text=", "before=17&after=3"):
        assert _from(query).is_everything
    assert EventFilter().describe() == "the whole log"
    assert EventFilter().to_query() == ""


def test_a_selection_survives_its_own_query_string() -> None:
    selection = _from(
        "from=2026-11-22T08:00:00.5&to=2026-11-23&exchange=KRAKEN%2FJOHN&actor=Olga+Ray+(olga)"
        f"&kind=finished&status=confirmed&reject_reason=OTHER&request={REQUEST.upper()}&text=a%26b"
    )
    assert _from(selection.to_query()) == selection
    assert EventFilter.from_words(selection.as_text()) == selection
    assert selection.exchange == "KRAKEN/JOHN"
    assert selection.kind == EventKind.FINISHED
    assert selection.request_id == REQUEST
    assert selection.describe() == (
        "from 22 Nov 2026, 08:00:00.500000 UTC, up to and including 23 Nov 2026 (UTC),"
        " Request finished, status “Confirmed, none open”, by or requested by “Olga Ray (olga)”,"
        f" exchange “KRAKEN/JOHN”, reject reason “OTHER”, request {REQUEST}, with the text “a&b”"
    )
    assert selection.as_data()["exchange_contains"] == "KRAKEN/JOHN"
    assert EventFilter.from_data(selection.as_data()) == selection


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("from=2026-11-20&to=2026-11-27", "20 to 27 Nov 2026 (UTC)"),
        ("to=9999-12-31", "up to and including 31 Dec 9999 (UTC)"),
        ("to=2026-11-20T08:30", "before 20 Nov 2026, 08:30:00 UTC"),
        ("kind=DENIED&unreviewed=1", "Access denied, unreviewed only"),
    ],
)
def test_a_filter_is_described_in_words(query: str, words: str) -> None:
    assert _from(query).describe() == words


def test_the_statuses_are_those_of_requests_in_their_words() -> None:
    assert status_labels == {str(status): label for status, label in LABELS.items()}
    assert set(NOT_CONFIRMED_STATUSES) == FINAL - {Status.CONFIRMED}


@pytest.mark.parametrize(
    ("typed", "status"),
    [
        ("REJECTED", "REJECTED"),
        ("rejected", "REJECTED"),
        ("not delivered", "NOT_DELIVERED"),
        ("Orders still open", "RESIDUAL"),
        ("outcome unknown", "UNKNOWN"),
        ("not confirmed", "NOT_CONFIRMED"),
    ],
)
def test_a_status_is_accepted_by_its_value_and_by_the_words_of_the_pages(
    typed: str, status: str
) -> None:
    assert EventFilter.from_words({"status": typed}).status == status


@pytest.mark.parametrize(
    ("query", "suggestion"),
    [
        ("status=failed", "Not confirmed"),
        ("status=REJECTD", "“Rejected”"),
        ("status=open", "“Orders still open”"),
        ("kind=finishd", "“Request finished”"),
        ("kind=sign", "“Signed in”"),
    ],
)
def test_a_mistyped_choice_is_refused_with_a_suggestion(query: str, suggestion: str) -> None:
    (error,) = _refused(query).errors.values()
    assert suggestion in error


@pytest.mark.parametrize(
    ("words", "data", "description"),
    [
        (
            {"status": "NOT_CONFIRMED", "kind": "FINISHED"},
            {"outcome": "NOT_CONFIRMED", "kind": "FINISHED"},
            "Request finished, not confirmed",
        ),
        (
            {"kind": "CHANGES"},
            {"kind_in": " ".join(CHANGE_KINDS)},
            "Changes to users, exchanges and the runbook",
        ),
    ],
)
def test_a_choice_of_several_values_is_recorded_with_all_of_them(
    words: dict[str, str], data: dict[str, str], description: str
) -> None:
    selection = EventFilter.from_words(words)
    assert selection.as_data() == data
    assert EventFilter.from_data(data) == selection
    assert selection.describe() == description


@pytest.mark.parametrize("data", [{"status_in": "REJECTED UNKNOWN"}, {"kind_in": "ROLE_CHANGED"}])
def test_a_recorded_list_of_values_is_not_taken_for_a_choice_of_today(data: dict[str, str]) -> None:
    with pytest.raises(InvalidFilter):
        EventFilter.from_data(data)


@pytest.mark.parametrize("kind", ["REQUESTED", "ALARM_RAISED", "CHANGES", "cancel attempt"])
def test_not_confirmed_with_another_event_type_is_refused_and_not_empty(kind: str) -> None:
    assert list(_refused(f"status=NOT_CONFIRMED&kind={kind}").errors) == ["kind"]


def test_filters_that_earlier_versions_recorded_are_described() -> None:
    recorded = {"from": "2026-11-20T00:00:00.000000Z", "exchange_id": "KRAKEN", "actor": "olga"}
    assert EventFilter.from_data(recorded).describe() == (
        "from 20 Nov 2026 (UTC), by or requested by “olga”, exchange “KRAKEN”"
    )


def test_whole_days_stay_days_in_an_address() -> None:
    selection = _from("from=2026-11-20&to=2026-11-27")
    assert selection.to_query() == "from=2026-11-20&to=2026-11-27"
    assert selection.as_data()["to"] == "2026-11-28T00:00:00.000000Z"


def test_times_are_utc_unless_they_say_otherwise_and_a_last_day_is_included() -> None:
    selection = _from("from=2026-11-22T08:00:00%2B02:00&to=2026-11-22")
    assert selection.from_at == datetime(2026, 11, 22, 6, tzinfo=UTC)
    assert selection.to_at == datetime(2026, 11, 23, tzinfo=UTC)
    assert _from("from=2026-11-22").from_at == datetime(2026, 11, 22, tzinfo=UTC)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("from=yesterday", "from"),
        ("from=2026-11-22T08:00:00+02:00", "from"),  # the plus sign arrives as a space
        ("to=2026-02-30", "to"),
        ("to=20261123", "to"),  # as a time it would not include the day
        ("to=0001-01-01T00:00", "to"),
        ("from=0001-01-01T00:00:00%2B14:00", "from"),
        ("from=2026-11-23&to=2026-11-22", "to"),
        ("kind=NONSENSE", "kind"),
        ("status=a%20b", "status"),
        ("request=17", "request"),
        ("text=%00", "text"),
        (f"exchange={'x' * 201}", "exchange"),
        ("unreviewed=yes", "unreviewed"),
        ("exchnage=KRAKEN", "exchnage"),
        ("kind=FINISHED&kind=ATTEMPT", "kind"),
    ],
)
def test_what_cannot_be_understood_is_refused_by_the_name_of_its_field(
    query: str, field: str
) -> None:
    refused = _refused(query)
    assert list(refused.errors) == [field]
    assert (FIELDS[field].label if field in FIELDS else field) in refused.errors[field]
    assert refused.errors[field].endswith(".")


def test_everything_that_is_wrong_is_said_at_once() -> None:
    refused = _refused("from=x&kind=y&text=kept&before=5")
    assert set(refused.errors) == {"from", "kind"}


@given(st.dictionaries(st.sampled_from(list(FIELDS)), TEXT, max_size=4))
def test_no_text_does_worse_than_being_refused(words: dict[str, str]) -> None:
    match _tried(words):
        case InvalidFilter() as refused:
            assert set(refused.errors) <= set(words)
        case selection:
            assert _from(selection.to_query()) == selection
            assert selection.is_everything == (selection.describe() == "the whole log")


class TestInTheLog:
    """Against real rows."""

    pytestmark = both

    @pytest.mark.parametrize(
        "query",
        [
            "kind=FINISHED",
            "status=CONFIRMED",
            f"request={REQUEST[:-1]}1",
        ],
    )
    def test_each_filter_selects_exactly_the_rows_that_have_the_value(self, query: str) -> None:
        fill(4)
        selection = _from(query)
        wanted = selection.as_data()
        expected = [
            event.seq
            for event in rows()
            if all(getattr(event, name) == value for name, value in wanted.items())
        ]
        assert expected
        assert len(expected) < len(rows())
        assert _seqs(selection) == expected

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ("exchange=kraken", [1, 2, 3, 4]),
            ("exchange=KRAKEN/J", [4]),
            ("exchange=kraken&kind=ATTEMPT", [2]),
            ("actor=olga", [1, 3, 5]),
            ("actor=RAY", [1, 3, 5]),
            ("actor=Olga+Ray+(olga)", [1, 3, 5]),
            ("actor=olga&status=not+confirmed", [3]),
            ("actor=command", [4]),
            ("actor=ops", [4]),
            ("actor=System", [2, 3, 6]),
            ("reject_reason=unreach", [2, 3]),
            ("status=not+confirmed", [3, 6]),
        ],
    )
    def test_a_part_of_a_name_is_found_in_any_case_with_the_outcomes_of_requests(
        self, query: str, expected: list[int]
    ) -> None:
        mine: dict[str, Any] = {"exchange_id": "KRAKEN", "request_id": REQUEST}
        record(
            NewEvent(kind=EventKind.REQUESTED, actor=OLGA, status="REQUESTED", **mine),
            NewEvent(kind=EventKind.ATTEMPT, reject_reason="EXCHANGE_UNREACHABLE", **mine),
            NewEvent(
                kind=EventKind.FINISHED,
                status="REJECTED",
                reject_reason="EXCHANGE_UNREACHABLE",
                **mine,
            ),
            NewEvent(kind=EventKind.DENIED, actor=Actor(name="os:ops"), exchange_id="KRAKEN/JOHN"),
            NewEvent(kind=EventKind.SIGNED_OUT, actor=OLGA),
            NewEvent(kind=EventKind.FINISHED, status="UNKNOWN", request_id=f"{REQUEST[:-1]}9"),
        )
        selection = _from(query)
        selection.check_names()
        assert _seqs(selection) == expected
        assert [event.seq for event in selection.events(after=2).order_by("seq")] == [
            seq for seq in expected if seq > 2
        ]

    @pytest.mark.parametrize(
        ("query", "error"),
        [
            ("exchange=krakne", "Exchange: No event has “krakne”. Did you mean “KRAKEN"),
            ("actor=olgs", "User: No event has “olgs”. Did you mean “Olga Ray (olga)”?"),
            ("reject_reason=zzzzz", "Reject reason: No event has “zzzzz”."),
        ],
    )
    def test_a_name_that_no_event_has_is_refused_with_a_suggestion(
        self, query: str, error: str
    ) -> None:
        fill(4)
        with pytest.raises(InvalidFilter) as refused:
            _from(query).check_names()
        assert error in str(refused.value)

    def test_a_column_with_very_many_values_is_searched_itself(self) -> None:
        fill(4)
        condition = contains("exchange_id", "kraken", max_values=1)
        assert condition == Q(exchange_id__icontains="kraken")
        found = AuditEvent.objects.filter(condition).order_by("seq")
        assert [event.seq for event in found] == _seqs(EventFilter(exchange="kraken"))

    def test_a_range_of_time_includes_its_beginning_and_not_its_end(self) -> None:
        fill(1)
        first, second, third = rows()
        assert first.at < second.at < third.at
        assert _seqs(EventFilter(from_at=first.at, to_at=third.at)) == [1, 2]
        assert _seqs(EventFilter(from_at=second.at)) == [2, 3]
        assert _seqs(EventFilter(to_at=second.at)) == [1]

    @pytest.mark.parametrize("text", ['say "no"', "back\\slash", "100%", "a_b", "Größe", "漢字"])
    def test_free_text_is_found_as_people_wrote_it(self, text: str) -> None:
        record(
            NewEvent(kind=EventKind.ATTEMPT, data={"message": f"they {text}!"}),
            NewEvent(kind=EventKind.ATTEMPT, data={"message": "another thing aXb 1000"}),
            NewEvent(kind=EventKind.DENIED, actor=Actor(name=f"x {text}")),
        )
        assert _seqs(EventFilter(text=text)) == [1, 3]

    def test_free_text_does_not_mind_the_case_of_plain_letters(self) -> None:
        record(
            NewEvent(kind=EventKind.ATTEMPT, exchange_id="KRAKEN"), NewEvent(kind=EventKind.ATTEMPT)
        )
        assert _seqs(EventFilter(text="kraken")) == [1]

    @pytest.mark.parametrize("by_time", [False, True])
    def test_pages_stay_put_while_new_events_arrive(self, *, by_time: bool) -> None:
        fill(4)
        earliest = rows()[0].at
        selection = EventFilter(from_at=earliest if by_time else None)
        seen: list[int] = []
        before = None
        while page := list(selection.search.page(before)[:5]):
            seen += [event.seq for event in page]
            before = page[-1]
            record(NewEvent(kind=EventKind.SIGNED_IN, actor=OLGA))
        assert seen == list(range(12, 0, -1))

    def test_events_of_one_instant_do_not_get_lost_between_pages(self) -> None:
        fill(2)
        events = rows()
        same = events[2].at
        selection = EventFilter(from_at=same - timedelta(days=1))
        page = selection.search.page(events[2])
        assert [event.seq for event in page] == [2, 1]
