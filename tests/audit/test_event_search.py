"""The search of the log: what it finds, and by which indexes."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.http import QueryDict
from django.test.utils import CaptureQueriesContext

from killswitch.audit.chain import NewEvent
from killswitch.audit.distinct_values import distinct_values
from killswitch.audit.event_search import EventSearch
from killswitch.audit.filters import EventFilter
from killswitch.audit.models import AuditEvent, EventKind
from killswitch.audit.review import unreviewed
from killswitch.compliance.review_queue import ReviewQueue
from tests.audit import request_factories
from tests.audit.assertions import Requests
from tests.audit.log import record
from tests.audit.review_helpers import left, marked
from tests.plans import plan

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]

EVERY_EVENT_IS_FEW, NONE_ARE_FEW = 1000, 0
QUERIES = (
    "",
    "kind=FINISHED",
    "kind=CHANGES",
    "status=NOT_CONFIRMED",
    "status=NOT_CONFIRMED&kind=FINISHED&exchange=b",
    "exchange=bit&reject_reason=unreach",
    "actor=olga",
    "actor=olga&status=NOT_CONFIRMED",
    "actor=system&kind=FINISHED",
    "unreviewed=1",
    "unreviewed=1&kind=FINISHED",
    "unreviewed=1&actor=olga&status=CONFIRMED",
    "text=drill",
    "text=drill&status=NOT_CONFIRMED&unreviewed=1",
    "kind=FINISHED&status=REQUESTED",
)


def search_of(query: str, *, few: int) -> EventSearch:
    return replace(EventFilter.from_query(QueryDict(query)).search, few=few)


def seqs(events: Any) -> list[int]:
    return [event.seq for event in events]


@pytest.mark.parametrize("few", [EVERY_EVENT_IS_FEW, NONE_ARE_FEW])
@pytest.mark.parametrize("times", ["", "from", "to", "from to"])
def test_the_search_finds_exactly_the_selected_events(
    requests: Requests, few: int, times: str
) -> None:
    marked("REVIEWED", *left()[::2])
    events = list(AuditEvent.objects.order_by("seq"))
    ends = {"from": events[3].at.isoformat(), "to": events[-3].at.isoformat()}
    days = {name: ends[name] for name in times.split()}
    for text in QUERIES:
        query = QueryDict(text, mutable=True)
        query.update(days)
        wanted = seqs(EventFilter.from_query(query).events().order_by("-seq"))
        search = search_of(query.urlencode(), few=few)
        assert seqs(search.page()) == wanted, text
        assert search.count(limit=1000) == len(wanted)
        if wanted:
            edge = AuditEvent.objects.get(seq=wanted[len(wanted) // 2])
            assert seqs(search.page(edge)) == [seq for seq in wanted if seq < edge.seq]
            newer = [seq for seq in wanted if seq > edge.seq]
            assert seqs(search.page(edge, newest_first=False)) == newer[::-1]


def test_a_clock_that_was_set_back_hides_no_event() -> None:
    start = datetime(2026, 3, 2, tzinfo=UTC)
    for minute in (0, 10, 2, 4, 11, 3):
        at = start + timedelta(minutes=minute)
        request_factories.log_at(at, NewEvent(kind=EventKind.SIGNED_IN))
    selection = EventFilter(
        from_at=start + timedelta(minutes=2), to_at=start + timedelta(minutes=4), kind="SIGNED_IN"
    )
    for few in (EVERY_EVENT_IS_FEW, NONE_ARE_FEW):
        assert seqs(replace(selection.search, few=few).page()) == [6, 3]


class TestPlans:
    """No search goes through the whole log. The plans are those of an empty log."""

    def test_what_is_left_to_review_is_found_by_its_own_index(self) -> None:
        rows = AuditEvent.objects.filter(unreviewed())
        assert "audit_needing_review" in plan(rows.order_by().values("seq"))
        if connection.vendor == "postgresql":
            return  # it may walk from the newest event on, if its statistics say that many are left
        text = plan(rows.order_by("-seq")[:51])
        assert "audit_needing_review" in text
        assert "audit_kind" not in text
        assert "TEMP B-TREE" not in text

    def test_the_review_page_reads_no_event_that_needs_no_review(self, requests: Requests) -> None:
        with CaptureQueriesContext(connection) as captured:
            queue = ReviewQueue.now()
        assert queue.cancels
        counted = [row["sql"] for row in captured if "GROUP BY" in row["sql"]]
        (sql,) = [sql for sql in counted if "audit_auditevent" in sql]
        with connection.cursor() as cursor:
            if connection.vendor == "sqlite":
                cursor.execute(f"EXPLAIN QUERY PLAN {sql}".replace("%", "%%"), [])
            else:
                cursor.execute("SET LOCAL enable_seqscan = off")
                cursor.execute(f"EXPLAIN {sql}".replace("%", "%%"), [])
            assert "audit_needing_review" in str(cursor.fetchall())

    @pytest.mark.parametrize(
        ("query", "index"),
        [
            ("status=NOT_CONFIRMED", "audit_status"),
            ("status=NOT_CONFIRMED&from=2026-03-01&to=2026-03-08", "audit_status"),
            ("kind=CHANGES&from=2026-03-01", "audit_kind"),
            ("request=8c8a9f0e-7d3c-4c55-8d0e-0a1b2c3d4e5f&from=2026-03-01", "audit_request"),
        ],
    )
    def test_the_rarest_condition_is_looked_up_in_its_index_alone(
        self, requests: Requests, query: str, index: str
    ) -> None:
        AuditEvent.objects.count()
        search = search_of(query, few=EVERY_EVENT_IS_FEW)
        text = plan(search.page()[:51])
        if connection.vendor == "sqlite":
            assert re.search(rf"USING (COVERING )?INDEX {index} \(", text)
            assert "audit_at" not in text
            assert "SCAN" not in text.replace("SCALAR", "")
        else:  # in an empty log, it finds every index equally good
            assert "Seq Scan" not in text

    def test_common_conditions_are_met_from_the_newest_event_on(self, requests: Requests) -> None:
        text = plan(search_of("kind=CHANGES&from=2026-03-01", few=NONE_ARE_FEW).page()[:51])
        assert "TEMP B-TREE" not in text
        assert "audit_at" not in text

    @pytest.mark.parametrize(
        ("query", "index"),
        [
            ("reject_reason=unreach", "audit_reject_reason"),
            ("reject_reason=unreach&kind=ATTEMPT", "audit_kind_reason"),
            ("reject_reason=unreach&exchange=bitmex", "audit_exchange_reason"),
        ],
    )
    def test_a_reject_reason_is_found_by_an_index_of_events_that_have_one(
        self, query: str, index: str
    ) -> None:
        kind, reason = EventKind.ATTEMPT, "EXCHANGE_UNREACHABLE"
        record(NewEvent(kind=kind, exchange_id="BITMEX", reject_reason=reason))
        page = EventFilter.from_query(QueryDict(query)).search.page()[:51]
        assert seqs(page) == [AuditEvent.objects.latest("seq").seq]
        text = plan(page)
        if connection.vendor == "sqlite":
            assert f"USING INDEX {index} (" in text
        else:  # in a small log, it finds every index equally good
            assert "Seq Scan" not in text

    @pytest.mark.parametrize("column", ["actor", "exchange_id", "reject_reason", "status"])
    def test_the_values_of_a_column_are_looked_up_one_by_one(self, column: str) -> None:
        with CaptureQueriesContext(connection) as captured:
            distinct_values(column, limit=10)
        (sql,) = [row["sql"] for row in captured]
        if connection.vendor == "sqlite":
            with connection.cursor() as cursor:
                cursor.execute(f"EXPLAIN QUERY PLAN {sql}", [])
                steps = [step for *_, step in cursor.fetchall() if "audit_auditevent" in step]
            assert len(steps) == 2
            assert all("SEARCH audit_auditevent USING COVERING INDEX" in step for step in steps)
