"""A kill that another process has begun: what is sent again, and what is only read."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from killswitch.cancels import execution, leases, watchdog
from killswitch.cancels.models import CancelRequest
from killswitch.cancels.recording import record_attempt
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


def test_an_acknowledged_cancel_is_not_sent_again_by_the_next_holder(
    simulator: Simulator, press: Press
) -> None:
    simulator.script("KRAKEN", cancel=["ok"], list=LIST_GONE, orders=5)
    (request,) = press("KRAKEN")
    (lease,) = leases.claim([request.pk])
    answer = get_client().cancel_all("KRAKEN")
    assert answer.outcome == "ACKNOWLEDGED"
    record_attempt(lease.id, lease.token, answer=answer, next_attempt_at=None)
    leases.release(lease)
    execution.take_over_abandoned([snapshot(request)])
    rows = CancelRequest.objects.filter(pk=request.pk)
    wait_for(lambda: rows.get().is_final, seconds=10)
    assert (rows.get().status, len(simulator.calls("KRAKEN"))) == ("UNVERIFIED", 1)


def test_a_permanent_refusal_is_not_sent_again_by_the_next_holder(
    simulator: Simulator, press: Press
) -> None:
    simulator.script("KRAKEN", cancel=always("unauthorised"), orders=5)
    (request,) = press("KRAKEN")
    (lease,) = leases.claim([request.pk])
    answer = get_client().cancel_all("KRAKEN")
    record_attempt(lease.id, lease.token, answer=answer, next_attempt_at=None)
    leases.release(lease)
    watchdog.check_once(watchdog.StallDetector())
    rows = CancelRequest.objects.filter(pk=request.pk)
    wait_for(lambda: rows.get().is_final, seconds=5)
    assert (rows.get().status, rows.get().open_after) == ("REJECTED", 5)
    assert len(simulator.calls("KRAKEN")) == 1


def test_a_request_that_kills_every_holder_is_not_sent_for_ever(
    simulator: Simulator, press: Press
) -> None:
    simulator.script("KRAKEN", orders=5)
    (request,) = press("KRAKEN")
    CancelRequest.objects.filter(pk=request.pk).update(
        status="SENDING", lease_token="a", first_claimed_at=datetime.now(UTC) - timedelta(hours=1)
    )
    for _ in range(2):
        lease = leases.take_over(snapshot(request))
        assert lease is not None
        leases.stop_renewing(lease)  # it dies as well
    execution.take_over_abandoned([snapshot(request)])
    rows = CancelRequest.objects.filter(pk=request.pk)
    wait_for(lambda: rows.get().is_final, seconds=5)
    assert (rows.get().status, rows.get().open_after) == ("RESIDUAL", 5)
    assert simulator.calls("KRAKEN") == []


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
