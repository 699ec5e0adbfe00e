"""Outcomes and durations by day: what is counted, and that chart and table agree."""

import re
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from killswitch.audit.chain import NewEvent
from killswitch.audit.filters import EventFilter
from killswitch.audit.models import EventKind
from killswitch.compliance import chart
from killswitch.compliance.event_outcomes import OUTCOMES
from killswitch.compliance.outcomes import DateRange, Day, Times, of_range
from killswitch.runtime.filter_values import InvalidFilter
from tests.audit import request_factories
from tests.audit.request_factories import START, request
from tests.markup import html
from tests.rendering import counted

ADDRESS = "/audit/outcomes/"
MARCH = {"from": "2026-03-02", "to": "2026-03-04"}
both = [pytest.mark.django_db, pytest.mark.both_databases]


def days(first: date = date(2026, 3, 2), last: date = date(2026, 3, 4)) -> list[Day]:
    return list(of_range(DateRange(first=first, last=last)).days)


def numbers(row: str) -> list[str]:
    """Return the counts in a row of a table, with or without a link."""
    return re.findall(r">\s*(\d+)\s*(?:</a>\s*)?</td>", row)


class TestCounting:
    """From the log's events."""

    pytestmark = both

    def test_a_request_counts_on_the_day_it_was_made_with_its_last_status(self) -> None:
        midnight = datetime(2026, 3, 3, tzinfo=UTC)
        request(0, at=START, status="CONFIRMED")
        request(1, at=START, status="REJECTED")
        request(2, at=midnight - timedelta(seconds=1), status="UNKNOWN", outcome=5)
        request(3, at=midnight, status="RESIDUAL")
        request(4, at=midnight, status="")
        assert [dict(day.counts) for day in days()] == [
            {"CONFIRMED": 1, "REJECTED": 1, "UNKNOWN": 1},
            {"RESIDUAL": 1, "OPEN": 1},
            {},
        ]
        assert sum(day.total for day in days()) == 5

    @pytest.mark.parametrize(
        ("asked_at", "day"),
        [
            ("2026-03-02T23:59:59.900000Z", 2),
            ("2026-03-03T00:30:00.000000+01:00", 2),
            ("2026-03-03T00:00:00.000000Z", 3),
            ("yesterday", 3),
            (None, 3),
            (20260302, 3),
            ("0001-01-01T00:00:00+23:00", 3),
        ],
    )
    def test_a_click_just_before_midnight_counts_on_its_own_day(
        self, asked_at: object, day: int
    ) -> None:
        requested = NewEvent(
            kind=EventKind.REQUESTED,
            request_id=request_factories.uuid(0),
            data={"asked_at": asked_at},
        )
        request_factories.log_at(datetime(2026, 3, 3, 0, 0, 1, tzinfo=UTC), requested)
        assert [each.total for each in days()] == [day == 2, day == 3, 0]
        only = date(2026, 3, day)
        assert days(only, only)[0].total == 1
        other = date(2026, 3, 5 - day)
        assert days(other, other)[0].total == 0

    def test_durations_are_from_the_request_to_the_first_response_and_to_the_outcome(self) -> None:
        for number, seconds in enumerate((0.1, 0.3, 8)):
            request(number, at=START, answer=seconds / 2, outcome=seconds)
        first = days()[0]
        assert first.answer == Times(median=150.0, maximum=4000.0)
        assert first.outcome == Times(median=300.0, maximum=8000.0)
        assert days()[1].outcome == Times(median=None, maximum=None)

    def test_only_the_first_of_several_responses_counts(self) -> None:
        request_id = request(0, at=START, status="", answer=0.1)
        retry = NewEvent(kind=EventKind.ATTEMPT, request_id=request_id, status="SENDING")
        request_factories.log_at(START + timedelta(seconds=30), retry)
        assert days()[0].answer == Times(median=100.0, maximum=100.0)

    def test_an_unknown_status_is_counted_as_unknown(self) -> None:
        request(0, at=START, status="OF_TOMORROW")
        assert days()[0].counts == {"UNKNOWN": 1}

    def test_requests_of_holds_are_counted_apart_and_have_no_durations(self) -> None:
        """Hundreds of quick cancels of a Hold must not hide one bad cancel of a person."""
        request(0, at=START, status="UNKNOWN", answer=4, outcome=8, reason='"origin":"HOLD"')
        for number in range(1, 4):
            request(number, at=START, by_hold=True)
        request(4, at=START, status="RESIDUAL", by_hold=True)
        first, second, _ = days()
        assert first.counts == {"UNKNOWN": 1}
        assert first.hold_counts == {"CONFIRMED": 3, "RESIDUAL": 1}
        assert first.outcome == Times(median=8000.0, maximum=8000.0)
        assert first.answer == Times(median=4000.0, maximum=4000.0)
        assert (first.total, first.hold_total, second.hold_total) == (1, 4, 0)

    @pytest.mark.parametrize("status", ["CONFIRMED", "RESIDUAL"])
    @pytest.mark.parametrize("alarm_kind", ["REOPENED", "OUTCOME"])
    def test_a_confirmed_request_that_was_reopened_is_counted_apart(
        self, status: str, alarm_kind: str
    ) -> None:
        request(0, at=START)
        request_id = request(1, at=START, status=status)
        request_factories.log_at(
            START + timedelta(seconds=12),
            NewEvent(
                kind=EventKind.ALARM_RAISED,
                request_id=request_id,
                data={"alarm_kind": alarm_kind, "title": "KRAKEN: 3 orders are open again."},
            ),
        )
        is_reopened = status == "CONFIRMED" and alarm_kind == "REOPENED"
        assert days()[0].counts == Counter(["CONFIRMED", "REOPENED" if is_reopened else status])

    def test_a_clock_that_was_set_back_gives_no_duration(self) -> None:
        request(0, at=START, answer=0.1, outcome=-0.2)
        assert days()[0].answer == Times(median=100.0, maximum=100.0)
        assert days()[0].outcome == Times(median=None, maximum=None)
        assert days()[0].counts == {"CONFIRMED": 1}, "the outcome itself is in the log"

    def test_any_number_of_events_is_two_queries(self, django_assert_num_queries: Any) -> None:
        request_factories.weeks(6)
        with django_assert_num_queries(2):
            days(last=date(2026, 4, 2))

    def test_too_many_events_are_refused(self) -> None:
        request(0, at=START)
        march = DateRange(first=date(2026, 3, 2), last=date(2026, 3, 4))
        with pytest.raises(match="too many events"):
            of_range(march, max_events=2)


class TestTheRange:
    """Whole days."""

    TODAY = date(2026, 3, 20)

    def date_range(self, **fields: str) -> DateRange:
        return DateRange.of(EventFilter.from_words(fields), today=self.TODAY)

    def test_the_default_is_the_last_month(self) -> None:
        assert self.date_range() == DateRange(first=date(2026, 2, 19), last=self.TODAY)
        assert len(self.date_range().days) == 30

    def test_both_days_are_included(self) -> None:
        date_range = self.date_range(**MARCH)
        assert [str(day) for day in date_range.days] == ["2026-03-02", "2026-03-03", "2026-03-04"]
        assert date_range.end == datetime(2026, 3, 5, tzinfo=UTC)

    def test_it_ends_today_at_the_latest(self) -> None:
        assert self.date_range(**{"from": "2026-03-19", "to": "9998-01-01"}).last == self.TODAY

    def test_a_year_is_the_longest(self) -> None:
        with pytest.raises(match="At most 366 days"):
            self.date_range(**{"from": "2025-03-19"})

    @given(st.datetimes(timezones=st.just(UTC)), st.datetimes(timezones=st.just(UTC)))
    def test_every_range_is_either_shown_or_refused(self, one: datetime, other: datetime) -> None:
        try:
            date_range = DateRange.of(EventFilter(from_at=one, to_at=other), today=self.TODAY)
        except InvalidFilter:
            return
        assert 1 <= len(date_range.days) <= 366
        assert date_range.end > date_range.begin


TIMES = st.builds(Times.of, st.lists(st.floats(min_value=0, max_value=1e9), max_size=3))
DAYS = st.lists(
    st.builds(
        Day,
        day=st.dates(min_value=date(2020, 1, 1), max_value=date(2030, 1, 1)),
        counts=st.dictionaries(
            st.sampled_from(OUTCOMES), st.integers(min_value=0, max_value=10**7)
        ).map(Counter),
        answer=TIMES,
        outcome=TIMES,
    ),
    min_size=1,
    max_size=366,
)


@given(DAYS)
def test_all_shapes_lie_within_the_chart(chart_days: list[Day]) -> None:
    layout = chart.draw(chart_days)
    for bar in layout.bars:
        for segment in bar.segments:
            assert float(segment.y) >= chart.TOP - 0.1
            assert float(segment.y) + float(segment.height) <= chart.HEIGHT - chart.BOTTOM + 0.2
            assert chart.LEFT - 0.1 <= float(segment.x) <= chart.WIDTH - chart.RIGHT
        heights = [float(segment.height) for segment in bar.segments]
        assert sum(heights) <= chart.HEIGHT - chart.TOP - chart.BOTTOM + 0.5
    for mark in layout.marks:
        assert chart.TOP - 0.1 <= float(mark.maximum) <= float(mark.median) + 0.01
        assert float(mark.median) <= chart.HEIGHT - chart.BOTTOM + 0.1
    assert 1 <= len(layout.days) <= chart.MAX_LABELS
    assert 2 <= len(layout.counts) <= 7


class TestThePage:
    """In the browser."""

    pytestmark = both

    def test_the_chart_and_the_table_agree(self, reader: Client) -> None:
        request(0, at=START)
        request(1, at=START, status="REJECTED")
        request(2, at=START + timedelta(days=1), status="")
        text = html(reader.get(ADDRESS, MARCH))
        statuses = re.findall(r'<rect [^>]*class="k-([A-Z_]+)"/>', text.split('class="plot"')[1])
        assert statuses == ["CONFIRMED", "REJECTED", "OPEN"]
        row = text.split('kind=REQUESTED">2026-03-02')[1].split("</tr>")[0]
        assert numbers(row) == ["1", "0", "0", "0", "0", "0", "1", "0", "0", "0", "1"]
        assert re.findall(r">(\d+ ms)</td>", row) == ["20 ms", "20 ms", "400 ms", "400 ms"]
        assert "2026-03-04</a>" not in text  # no request on that day

    def test_each_number_leads_to_the_requests_that_it_counts(self, reader: Client) -> None:
        request(0, at=START, status="REJECTED", exchange="KRAKEN/JÖHN")
        request(1, at=START + timedelta(days=1), status="")
        request(2, at=START, status="UNVERIFIED", by_hold=True)
        links = set(re.findall(r'href="/requests/\?([^"]+)"', html(reader.get(ADDRESS, MARCH))))
        first, second = "from=2026-03-02&amp;to=2026-03-02", "from=2026-03-03&amp;to=2026-03-03"
        whole = "from=2026-03-02&amp;to=2026-03-04"
        assert {
            f"period=custom&amp;{first}&amp;by=people-only&amp;outcome=rejected",
            f"period=custom&amp;{second}&amp;by=people-only&amp;outcome=in_progress",
            f"period=custom&amp;{whole}&amp;by=people-only&amp;outcome=rejected",
            f"period=custom&amp;{first}&amp;by=holds&amp;outcome=unverified",
            f"period=custom&amp;{whole}&amp;by=people-only&amp;exchange=KRAKEN%2FJ%C3%96HN"
            "&amp;outcome=rejected",
        } <= links
        assert not [link for link in links if "outcome=confirmed" in link]

    @pytest.mark.parametrize(
        "query", ["to=0001-01-01T00:00:00", "to=0001-01-01T01:00:00%2B01:00", "from=9999-12-31"]
    )
    def test_a_range_before_or_after_all_time_is_refused(self, reader: Client, query: str) -> None:
        assert reader.get(f"{ADDRESS}?{query}").status_code == 400

    def test_outcomes_are_broken_down_by_exchange_and_person(self, reader: Client) -> None:
        request(0, at=START, exchange="BITMEX")
        request(1, at=START, status="REJECTED")
        request(2, at=START, status="UNKNOWN", by_hold=True)
        found = of_range(DateRange(first=date(2026, 3, 2), last=date(2026, 3, 4)))
        assert [(row.name, dict(row.counts)) for row in found.by_exchange] == [
            ("KRAKEN", {"REJECTED": 1}),
            ("BITMEX", {"CONFIRMED": 1}),
        ]
        assert [(row.name, row.total) for row in found.by_person] == [("Olga Ray (olga)", 2)]
        text = html(reader.get(ADDRESS, MARCH)).split("By user")[1]
        assert "by=people-only&amp;person=Olga%20Ray%20%28olga%29" in text

    def test_no_row_reverses_an_address_and_no_number_renders_a_template(
        self, reader: Client
    ) -> None:
        counts = []
        for number in range(3):
            request(number, at=START + timedelta(days=number), exchange=f"VENUE{number}")
            with counted() as of_page:
                reader.get(ADDRESS, MARCH)
            counts.append(of_page)
        assert counts[2]["reverse"] == counts[1]["reverse"]
        # A row by day is two templates, one by exchange a single one.
        assert counts[2]["render"] - counts[1]["render"] == 3

    def test_requests_of_holds_have_a_table_of_their_own(self, reader: Client) -> None:
        request(0, at=START)
        assert "Requests of Holds" not in html(reader.get(ADDRESS, MARCH))
        request(1, at=START, status="UNVERIFIED", by_hold=True)
        request(2, at=START, status="", by_hold=True)
        text = html(reader.get(ADDRESS, MARCH))
        assert re.findall(r'<rect [^>]*class="k-([A-Z_]+)"/>', text.split('class="plot"')[1]) == [
            "CONFIRMED"
        ]
        table = text.split("Requests of Holds by day")[1]
        row = table.split('kind=HOLD_EPISODE">2026-03-02')[1].split("</tr>")[0]
        assert numbers(row) == ["0", "0", "0", "0", "0", "1", "0", "0", "0", "1", "1"]

    def test_it_has_neither_style_nor_script_inline(self, reader: Client) -> None:
        request_factories.weeks(5)
        text = html(reader.get(ADDRESS, MARCH))
        assert " style=" not in text
        assert "<style" not in text
        assert not re.search(r"<script(?![^>]*src=)", text)

    def test_it_is_shown_before_the_first_request(self, reader: Client) -> None:
        text = html(reader.get(ADDRESS))
        assert "0 requests" in text
        assert 'role="img"' in text

    @pytest.mark.parametrize(
        ("query", "error"),
        [
            ({"from": "x<b>"}, "From: “x&lt;b&gt;” is not a day."),
            (
                {"from": "2026-03-04", "to": "2026-03-02"},
                "To: The range is empty. Choose an earlier start or a later end.",
            ),
            ({"from": "0001-01-01"}, "At most 366 days"),
            ({"from": "9000-01-01"}, "First day must not be after the last day"),
            ({"to": "\x00"}, "is not a day"),
        ],
    )
    def test_an_invalid_range_is_explained_and_kept(
        self, reader: Client, query: dict[str, str], error: str
    ) -> None:
        answer = reader.get(ADDRESS, query)
        text = html(answer)
        assert answer.status_code == 400
        assert error in text
        if "from" in query:
            assert f'value="{query["from"].replace("<b>", "&lt;b&gt;")}"' in text
