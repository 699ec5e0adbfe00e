"""The counters of the metrics: each event once, the same in every process, never backwards."""

import importlib
import math
from collections import Counter
from datetime import timedelta
from itertools import pairwise

import pytest
from django.apps import apps
from django.db import connection
from django.test.utils import CaptureQueriesContext

from killswitch.accounts.models import Role, User
from killswitch.alarms.models import AlarmKind
from killswitch.alarms.services import raise_alarm
from killswitch.audit import chain
from killswitch.audit.models import EventKind
from killswitch.audit.recorder import recording
from killswitch.cancels.models import FINAL_VALUES, Attempt, CancelRequest, Origin
from killswitch.cancels.recording import record_takeover
from killswitch.cancels.states import Status
from killswitch.ems import answers
from killswitch.exchanges.models import Exchange
from killswitch.readiness import counters
from killswitch.readiness.counters import BUCKETS_S, Counts
from killswitch.readiness.models import StoredCounts
from tests import factories
from tests.holds.hold_factories import shell, start
from tests.threads import run_at_once

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True)]


def current(chunk_events: int = 1000) -> Counts:
    counts = counters.current(chunk_events=chunk_events)
    assert counts
    return counts


@pytest.fixture
def olga() -> User:
    return factories.person(Role.RISK_OFFICER)


def requested(olga: User, *, ago_s: float = 12) -> CancelRequest:
    """Record a request on an exchange of its own, and claim it."""
    exchange = factories.exchange(f"VENUE{Exchange.objects.count()}", orders=3)
    request = factories.press(olga, exchange, ago_s=ago_s).requests.get()
    factories.claim(request)
    return request


def end(olga: User, status: Status, *, ago_s: float = 12, attempts: int = 1) -> CancelRequest:
    return factories.bring(requested(olga, ago_s=ago_s), status, attempts=attempts)


def bucket(counts: Counts, name: str) -> dict[str, int]:
    """Return the buckets that have observations of their own, by upper bound."""
    bounds = [("", 0), *counts.buckets(name)]
    return {text: n - before for (_, before), (text, n) in pairwise(bounds) if n > before}


def test_what_ended_is_counted_by_its_outcome_and_what_is_in_flight_is_not(olga: User) -> None:
    requested(olga)
    for status in FINAL_VALUES:
        end(olga, Status(status), attempts=2)
    counts = current()
    expected = Counter({(status, "BROWSER"): 1 for status in FINAL_VALUES})
    assert counts.by_labels("requests") == expected
    assert counts.by_labels("attempts") == {
        ("ACKNOWLEDGED", "2xx"): 6,
        ("REJECTED", "4xx"): 2,
        ("UNKNOWN", "none"): 2,
        ("NOT_DELIVERED", "none"): 2,
    }
    assert counts.by_labels("alarms_raised") == {("OUTCOME",): 5}
    assert counts.seq == chain.head().seq


def test_alarms_and_holds_are_counted_when_they_begin() -> None:
    exchange = factories.exchange("KRAKEN")
    start(exchange, act=shell("olga"))
    for number, kind in enumerate(AlarmKind.values):
        with recording():
            # The data of this event has the key twice, once in the words of somebody else.
            raise_alarm(kind=AlarmKind(kind), subject=f'"alarm_kind":"X" {number}', title="a")
    counts = current()
    assert counts.by_labels("alarms_raised") == {(kind,): 1 for kind in AlarmKind.values}
    assert counts.numbers["holds_started"] == 1


def test_durations_begin_with_the_click_and_end_with_what_is_known_of_it(olga: User) -> None:
    request = end(olga, Status.CONFIRMED, ago_s=3.5)
    counts = current()
    assert bucket(counts, "click_to_wire") == {"5.0": 1}
    assert bucket(counts, "click_to_answer") == {"5.0": 1}
    assert bucket(counts, "click_to_confirmed") == {"5.0": 1}
    attempt = request.attempts.get()
    assert attempt.started_at is not None
    request.batch.refresh_from_db()
    seconds = (attempt.started_at - request.batch.asked_at).total_seconds()
    assert counts.sum_s("click_to_wire") == pytest.approx(seconds, abs=1e-5)


def test_a_call_that_did_not_reach_the_ems_was_not_on_the_wire(olga: User) -> None:
    """The duration would be short although the cancel left late."""
    request = requested(olga, ago_s=0.2)
    factories.attempt(request, answers.not_delivered("Connection refused (error 111)"))
    assert not bucket(current(), "click_to_wire")
    request.batch.asked_at -= timedelta(seconds=20)
    request.batch.save()
    factories.attempt(request, answers.no_answer("the call was not finished", at_once=False))
    counters.store()
    counts = current()
    assert (bucket(counts, "click_to_wire"), bucket(counts, "click_to_answer")) == ({"30.0": 1}, {})
    for _ in range(2):
        factories.attempt(request, factories.answer(request, Status.REJECTED))
    counts = current()
    assert bucket(counts, "click_to_wire") == {"30.0": 1}, "only the first call counts"
    assert bucket(counts, "click_to_answer") == {"30.0": 1}, "only the first answer counts"
    assert not bucket(counts, "click_to_confirmed")


def test_the_trace_of_a_dead_process_is_not_a_time_on_the_wire(olga: User) -> None:
    request = requested(olga)
    record_takeover(request.pk, dead_holder=factories.LEASE_TOKEN, lease_token="b")
    counts = current()
    assert counts.by_labels("attempts") == {("UNKNOWN", "none"): 1}
    assert not bucket(counts, "click_to_wire")


@pytest.mark.parametrize("origin", Origin.values)
def test_a_hold_has_no_click(origin: str, olga: User) -> None:
    request = requested(olga)
    request.batch.origin = origin
    request.batch.save()
    factories.bring(request, Status.CONFIRMED)
    counts = current()
    assert counts.by_labels("requests") == {("CONFIRMED", origin): 1}
    names = ("click_to_wire", "click_to_answer", "click_to_confirmed")
    expected = 0 if origin == Origin.HOLD else 1
    assert [counts.buckets(name)[-1] for name in names] == [("+Inf", expected)] * 3


def test_a_time_before_the_click_is_no_duration(olga: User) -> None:
    """The clocks of two hosts differ; 0 would look fast."""
    end(olga, Status.CONFIRMED, ago_s=-3600)
    counts = current()
    assert counts.by_labels("requests") == {("CONFIRMED", "BROWSER"): 1}
    assert not bucket(counts, "click_to_wire")


def test_a_duration_above_all_bounds_is_counted(olga: User) -> None:
    end(olga, Status.CONFIRMED, ago_s=3600)
    counts = current()
    assert bucket(counts, "click_to_wire") == {"+Inf": 1}
    assert counts.sum_s("click_to_wire") == pytest.approx(3600, abs=30)


def test_observations_of_another_version_stay_when_its_bounds_are_gone() -> None:
    counts = Counts(numbers=Counter({"click_to_wire 0.03": 2, f"click_to_wire {math.inf}": 1}))
    buckets = dict(counts.buckets("click_to_wire"))
    assert (buckets["0.025"], buckets["0.05"], buckets["+Inf"]) == (0, 2, 3)
    assert list(buckets) == [*map(str, BUCKETS_S), "+Inf"]


@pytest.mark.parametrize("chunk_events", [1, 2, 7, 1000])
def test_it_does_not_matter_when_the_counts_are_stored(chunk_events: int, olga: User) -> None:
    for status in FINAL_VALUES:
        end(olga, Status(status), attempts=2)
        counters.store(chunk_events=chunk_events)
    end(olga, Status.CONFIRMED)
    counts = current(chunk_events=chunk_events)
    assert StoredCounts.objects.get().seq < counts.seq
    StoredCounts.objects.all().delete()
    assert current() == counts


def test_nothing_new_is_stored_twice_nor_written(olga: User) -> None:
    end(olga, Status.CONFIRMED)
    counters.store()
    counts = current()
    with CaptureQueriesContext(connection) as captured:
        counters.store()
    assert [query["sql"].split(" ")[0] for query in captured] == ["SELECT", "SELECT"]
    assert current() == counts


def test_two_processes_that_store_at_once_count_everything_once(olga: User) -> None:
    for status in FINAL_VALUES:
        end(olga, Status(status))
    counts = current()

    def store() -> None:
        counters.store(chunk_events=3)

    run_at_once(*[store] * 4)
    counters.store()
    assert StoredCounts.objects.get().seq == counts.seq
    assert current() == counts


def test_no_process_ever_sees_a_counter_go_backwards(olga: User) -> None:
    """Events are recorded, counted and stored by several processes at the same time."""
    requests = [requested(olga) for _ in range(12)]

    def finish(rows: list[CancelRequest]) -> list[Counts]:
        for request in rows:
            factories.bring(request, Status.CONFIRMED, attempts=1)
        return []

    def read() -> list[Counts]:
        seen: list[Counts] = []
        while not seen or (seen[-1].numbers["requests CONFIRMED BROWSER"] < 12 and len(seen) < 999):
            seen.append(current(chunk_events=5))
            counters.store(chunk_events=5)
        return seen

    results = run_at_once(lambda: finish(requests[:6]), lambda: finish(requests[6:]), read, read)
    for seen in results[2:]:
        assert seen[-1].by_labels("requests") == {("CONFIRMED", "BROWSER"): 12}
        assert seen[-1].by_labels("attempts") == {("ACKNOWLEDGED", "2xx"): 12}
        for before, after in pairwise(seen):
            assert all(after.numbers[name] >= n for name, n in before.numbers.items())


def test_events_without_rows_do_not_stop_the_counters(olga: User) -> None:
    """Those are forged or their rows were deleted, which the verification of the log finds."""
    end(olga, Status.CONFIRMED)
    before = current()
    with recording() as record:
        for request_id in ("", "no UUID", "5f7f8a3e-6f0b-4c1c-8a43-2f7a0d1b9c55"):
            record.event(EventKind.FINISHED, request_id=request_id, status="RESIDUAL")
            record.event(EventKind.ATTEMPT, request_id=request_id, data={"number": 1})
    Attempt.objects.all().delete()
    StoredCounts.objects.all().delete()
    counts = current()
    assert counts.by_labels("requests") == {("CONFIRMED", "BROWSER"): 1, ("RESIDUAL", ""): 3}
    assert before.by_labels("attempts")
    assert not counts.by_labels("attempts")


def test_an_update_begins_to_count_at_the_newest_event(olga: User) -> None:
    """To count a long log would take long, and a counter may begin anywhere."""
    name = "killswitch.readiness.migrations.0004_stored_counts"
    migration = importlib.import_module(name)
    migration.start_at_the_newest_event(apps, None)
    assert not StoredCounts.objects.exists(), "an empty log is counted from its beginning"
    end(olga, Status.CONFIRMED)
    migration.start_at_the_newest_event(apps, None)
    assert current() == Counts(seq=chain.head().seq)
    end(olga, Status.REJECTED)
    assert current().by_labels("requests") == {("REJECTED", "BROWSER"): 1}


def test_counters_that_cannot_be_up_to_date_are_not_shown(olga: User) -> None:
    """To count for long would end in the readiness NOT READY, which is for a database."""
    end(olga, Status.CONFIRMED)
    events = chain.head().seq
    assert counters.current(max_events=events) == current()
    assert counters.current(max_events=events - 1) is None
    counters.store()
    assert counters.current(max_events=0) == current()
