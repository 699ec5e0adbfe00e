"""A kill that another process has begun: what is sent again, and what is only read."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db.models import QuerySet

from killswitch.cancels import execution, leases, watchdog
from killswitch.cancels.kill import MAX_UNVERIFIED_POSTS
from killswitch.cancels.models import CancelRequest
from killswitch.cancels.recording import record_attempt
from killswitch.ems.answers import TimedCancelAnswer, not_delivered
from killswitch.ems.client import get_client
from killswitch.runtime import shutdown
from killswitch.simulator.server import Simulator
from tests.cancels.conftest import Press
from tests.cancels.kills import LIST_GONE, always, snapshot
from tests.conftest import wait_for

pytestmark = [
    pytest.mark.both_databases,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("executor", "short_timeouts"),
]


def test_a_shutdown_ends_a_long_pause_and_the_next_holder_keeps_to_the_rest_of_it(
    simulator: Simulator, press: Press, settings: Any
) -> None:
    settings.CANCEL_DEADLINE = 30
    wait = {"fault": "too_many", "retry_after": "3"}
    simulator.script("KRAKEN", cancel=[wait, "ok"], orders=5)
    (request,) = press("KRAKEN")
    execution.run(ids=[request.pk])
    rows = CancelRequest.objects.filter(id=request.pk)
    wait_for(lambda: rows.get().attempt_count == 1, seconds=5)
    hand_over(request)
    wait_for(lambda: rows.get().is_final, seconds=15)
    assert rows.get().status == "CONFIRMED"
    assert not request.attempts.filter(by_dead_holder=True).exists()
    first, second = simulator.calls("KRAKEN")
    assert second.received_monotonic - first.received_monotonic > 2.9


def test_the_next_holder_keeps_to_a_pause_that_the_ems_wanted_while_orders_remained(
    simulator: Simulator, press: Press, settings: Any
) -> None:
    settings.CANCEL_DEADLINE = 30
    wait = {"fault": "too_many", "retry_after": "3"}
    simulator.script("KRAKEN", cancel=[{"fault": "partial", "leaves": 3}, wait, "ok"], orders=5)
    (request,) = press("KRAKEN")
    execution.run(ids=[request.pk])
    rows = CancelRequest.objects.filter(id=request.pk)
    wait_for(lambda: rows.get().attempt_count == 2, seconds=8)
    reads = rows.get().reads
    wait_for(lambda: rows.get().reads > reads + 1, seconds=5)
    assert rows.get().next_attempt_at
    hand_over(request)
    wait_for(lambda: rows.get().is_final, seconds=15)
    assert rows.get().status == "CONFIRMED"
    _, second, third = simulator.calls("KRAKEN")
    assert third.received_monotonic - second.received_monotonic > 2.9


def test_after_a_death_in_a_pause_the_next_holder_reads_until_it_may_send(
    simulator: Simulator, press: Press, settings: Any
) -> None:
    settings.CANCEL_DEADLINE = 30
    wait = {"fault": "too_many", "retry_after": "6"}
    simulator.script("KRAKEN", cancel=[wait, "ok"], orders=5)
    (request,) = press("KRAKEN")
    die_in_a_pause_that_the_ems_wants(request)
    rows = CancelRequest.objects.filter(id=request.pk)
    wait_for(lambda: rows.get().reads > 1, seconds=5)
    assert (rows.get().status, len(simulator.calls("KRAKEN"))) == ("VERIFYING", 1)
    wait_for(lambda: rows.get().is_final, seconds=30)
    assert rows.get().status == "CONFIRMED"
    first, second = simulator.calls("KRAKEN")
    assert second.received_monotonic - first.received_monotonic > 5.9


def test_after_a_death_in_a_pause_an_empty_list_needs_no_second_post(
    simulator: Simulator, press: Press, settings: Any
) -> None:
    settings.CANCEL_DEADLINE = 30
    simulator.script("KRAKEN", cancel=[{"fault": "too_many", "retry_after": "15"}], orders=0)
    (request,) = press("KRAKEN")
    die_in_a_pause_that_the_ems_wants(request)
    rows = CancelRequest.objects.filter(id=request.pk)
    wait_for(lambda: rows.get().is_final, seconds=5)
    assert (rows.get().status, len(simulator.calls("KRAKEN"))) == ("CONFIRMED", 1)


def test_reading_the_open_orders_does_not_delay_the_last_post(
    simulator: Simulator, press: Press, settings: Any
) -> None:
    settings.CANCEL_DEADLINE = 4
    wait = {"fault": "too_many", "retry_after": "3600"}
    simulator.script("KRAKEN", cancel=[wait, "ok"], orders=5)
    (request,) = press("KRAKEN")
    die_in_a_pause_that_the_ems_wants(request)
    rows = CancelRequest.objects.filter(pk=request.pk)
    wait_for(lambda: rows.get().is_final, seconds=10)
    assert (rows.get().status, len(simulator.calls("KRAKEN"))) == ("CONFIRMED", 2)


def test_the_next_holder_reads_before_it_sends_an_acknowledged_cancel_again(
    simulator: Simulator, press: Press, settings: Any
) -> None:
    settings.CANCEL_DEADLINE = 30  # when less time is left than it settles, it is sent early
    simulator.script("KRAKEN", cancel=["ok"], orders=5)
    (request,) = press("KRAKEN")
    (lease,) = leases.claim([request.pk])
    answer = get_client().cancel_all("KRAKEN")
    assert answer.outcome == "ACKNOWLEDGED"
    record_attempt(lease.id, lease.token, answer=answer, next_attempt_at=None)
    leases.release(lease)
    execution.take_over_abandoned([snapshot(request)])
    rows = CancelRequest.objects.filter(pk=request.pk)
    wait_for(lambda: rows.get().is_final, seconds=10)
    assert (rows.get().status, len(simulator.calls("KRAKEN"))) == ("CONFIRMED", 1)


@pytest.mark.parametrize(("fault", "posts"), [("unauthorised", 2), ("not_found", 5)])
def test_all_holders_together_repeat_a_refused_request_a_few_times(
    simulator: Simulator, press: Press, settings: Any, fault: str, posts: int
) -> None:
    settings.CANCEL_DEADLINE = 30
    simulator.script("KRAKEN", cancel=always(fault), orders=5)
    (request,) = press("KRAKEN")
    (lease,) = leases.claim([request.pk])
    for _ in range(posts - 1):
        answer = get_client().cancel_all("KRAKEN")
        record_attempt(lease.id, lease.token, answer=answer, next_attempt_at=None)
    leases.release(lease)
    watchdog.check_once(watchdog.StallDetector())
    rows = CancelRequest.objects.filter(pk=request.pk)
    wait_for(lambda: rows.get().is_final, seconds=5)
    assert (rows.get().status, rows.get().open_after) == ("REJECTED", 5)
    assert len(simulator.calls("KRAKEN")) == posts


def test_a_request_refused_for_good_is_only_read_by_the_next_holder_until_the_list_can_be_read(
    simulator: Simulator, press: Press, settings: Any
) -> None:
    settings.CANCEL_DEADLINE = 30
    unreadable = {"fault": "server_error", "status": 503}
    simulator.script(
        "KRAKEN", cancel=always("unauthorised"), list=[unreadable, unreadable], orders=5
    )
    (request,) = press("KRAKEN")
    (lease,) = leases.claim([request.pk])
    for _ in range(2):
        answer = get_client().cancel_all("KRAKEN")
        record_attempt(lease.id, lease.token, answer=answer, next_attempt_at=None)
    leases.release(lease)
    watchdog.check_once(watchdog.StallDetector())
    rows = CancelRequest.objects.filter(pk=request.pk)
    wait_for(lambda: rows.get().is_final, seconds=10)
    assert (rows.get().status, rows.get().open_after) == ("REJECTED", 5)
    assert len(simulator.calls("KRAKEN")) == 2


def test_an_empty_list_does_not_confirm_before_a_cancel_was_delivered(
    simulator: Simulator, press: Press, settings: Any
) -> None:
    """An EMS that has just started may not have loaded the orders of its exchanges yet."""
    settings.CANCEL_DEADLINE = 10
    simulator.script("KRAKEN", list=always("raw", body="[]"), orders=5)
    (request,) = press("KRAKEN")
    (lease,) = leases.claim([request.pk])
    now = datetime.now(UTC)
    refused = not_delivered("Connection refused (error 111)")
    for _ in range(3):
        answer = TimedCancelAnswer(
            **vars(refused), started_at=now, finished_at=now, duration_ms=1.0
        )
        record_attempt(
            lease.id, lease.token, answer=answer, next_attempt_at=now + timedelta(seconds=2)
        )
        now += timedelta(milliseconds=1)
    leases.stop_renewing(lease)  # it dies
    CancelRequest.objects.filter(pk=request.pk).update(status="VERIFYING")
    execution.take_over_abandoned([snapshot(request)])
    rows = CancelRequest.objects.filter(pk=request.pk)
    wait_for(lambda: rows.get().is_final, seconds=15)
    assert rows.get().status == "CONFIRMED"
    assert rows.get().reads > 1
    assert len(simulator.calls("KRAKEN")) == 1
    wait_for(lambda: simulator.really_open("KRAKEN") == 0, seconds=5)


def test_all_holders_together_repeat_an_accepted_cancel_without_a_list_a_few_times(
    simulator: Simulator, press: Press, settings: Any
) -> None:
    settings.CANCEL_DEADLINE = 10
    simulator.script("KRAKEN", cancel=always("acknowledged_only"), list=LIST_GONE, orders=1)
    (request,) = press("KRAKEN")
    (lease,) = leases.claim([request.pk])
    for _ in range(4):
        answer = get_client().cancel_all("KRAKEN")
        record_attempt(lease.id, lease.token, answer=answer, next_attempt_at=None)
    leases.release(lease)
    execution.take_over_abandoned([snapshot(request)])
    rows = CancelRequest.objects.filter(pk=request.pk)
    wait_for(lambda: rows.get().is_final, seconds=15)
    assert (rows.get().status, rows.get().attempt_count) == ("UNVERIFIED", MAX_UNVERIFIED_POSTS)


def test_at_the_deadline_the_outcome_says_that_no_cancel_is_known_to_have_arrived(
    simulator: Simulator, press: Press
) -> None:
    (request,) = press("KRAKEN")
    rows = taken_over_late_after_three_deaths(request)
    assert (rows.get().status, rows.get().open_after) == ("UNKNOWN", 0)
    assert rows.get().conclusion.startswith("No cancel is known to have reached the EMS.")
    assert simulator.calls("KRAKEN") == []


def test_a_request_that_kills_every_holder_is_not_sent_for_ever(
    simulator: Simulator, press: Press
) -> None:
    simulator.script("KRAKEN", orders=5)
    (request,) = press("KRAKEN")
    rows = taken_over_late_after_three_deaths(request)
    assert (rows.get().status, rows.get().open_after) == ("RESIDUAL", 5)
    assert simulator.calls("KRAKEN") == []


def taken_over_late_after_three_deaths(request: CancelRequest) -> QuerySet[CancelRequest]:
    """Let holders die until an hour has passed, and carry the request out."""
    rows = CancelRequest.objects.filter(pk=request.pk)
    rows.update(
        status="SENDING", lease_token="a", first_claimed_at=datetime.now(UTC) - timedelta(hours=1)
    )
    for _ in range(2):
        lease = leases.take_over(snapshot(request))
        assert lease is not None
        leases.stop_renewing(lease)  # it dies as well
    execution.take_over_abandoned([snapshot(request)])
    wait_for(lambda: rows.get().is_final, seconds=5)
    return rows


def die_in_a_pause_that_the_ems_wants(request: CancelRequest) -> None:
    """Let a holder die after an answer with Retry-After, and take the request over."""
    (lease,) = leases.claim([request.pk])
    answer = get_client().cancel_all(lease.exchange_id)
    assert answer.retry_after
    planned_at = answer.finished_at + timedelta(seconds=answer.retry_after)
    record_attempt(lease.id, lease.token, answer=answer, next_attempt_at=planned_at)
    leases.stop_renewing(lease)
    rows = CancelRequest.objects.filter(pk=request.pk, lease_token=lease.token)

    def take_over() -> bool:
        # Like the watchdog, more than once: a renewal that was under way changes the row once more.
        execution.take_over_abandoned([snapshot(request)])
        return not rows.exists()

    wait_for(take_over, seconds=5)


def hand_over(request: CancelRequest) -> None:
    """Stop the process that carries the request out, and let a watchdog find the request."""
    shutdown.STOP.set()
    wait_for(
        lambda: CancelRequest.objects.filter(id=request.pk, lease_token="").exists(), seconds=2
    )
    shutdown.STOP.clear()
    watchdog.check_once(watchdog.StallDetector())
