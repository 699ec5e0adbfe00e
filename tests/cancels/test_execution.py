"""Requests are claimed, or taken over, and get a thread each."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import DataError

from killswitch.cancels import execution, leases, thread_slots, watchdog
from killswitch.cancels.kill import FRESH_LEASE_S, Kill
from killswitch.cancels.lease import Lease
from killswitch.cancels.leases import RequestSnapshot
from killswitch.cancels.models import Attempt, CancelRequest
from killswitch.cancels.request_record import RequestRecord
from killswitch.cancels.thread_slots import ThreadSlots
from killswitch.ems.client import EmsClient, forget_client, get_client
from killswitch.runtime.shutdown import STOP
from killswitch.simulator.server import Simulator
from tests.cancels.conftest import Press
from tests.cancels.kills import carry_out, snapshot
from tests.conftest import wait_for

pytestmark = [
    pytest.mark.both_databases,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("executor", "short_timeouts"),
]


def test_a_request_is_claimed_only_when_a_thread_is_free(
    simulator: Simulator, press: Press
) -> None:
    requests = press("KRAKEN", "BINANCE")
    ids = [request.pk for request in requests]
    with thread_slots.ThreadSlots(thread_slots.MAX_THREADS):
        execution.run(ids=ids)
    assert {(r.status, r.lease_token) for r in CancelRequest.objects.all()} == {("REQUESTED", "")}
    with thread_slots.ThreadSlots(thread_slots.MAX_THREADS - 1):
        execution.run(ids=ids)
        assert CancelRequest.objects.filter(status="REQUESTED").count() == 1
    assert carry_out(requests).status == "CONFIRMED"


def test_over_open_connections_the_first_cancels_leave_before_any_thread_starts(
    simulator: Simulator, press: Press, timeouts_for_many: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"VENUE{number}" for number in range(8)]
    carry_out(press(*names))  # and leaves a connection for each of them
    before = len(simulator.calls())
    start = ThreadSlots.start

    def start_when_most_are_sent(self: ThreadSlots, work: Any) -> None:
        wait_for(lambda: len(simulator.calls()) - before >= len(names) / 2, seconds=10)
        start(self, work)

    monkeypatch.setattr(ThreadSlots, "start", start_when_most_are_sent)
    carry_out(press(*names))
    assert len(simulator.calls()) - before == 8
    assert {request.status for request in CancelRequest.objects.all()} == {"CONFIRMED"}
    assert set(Attempt.objects.values_list("number", "outcome")) == {(1, "ACKNOWLEDGED")}


def test_a_cancel_that_has_left_is_recorded_although_the_process_is_ending(
    simulator: Simulator, press: Press, monkeypatch: pytest.MonkeyPatch
) -> None:
    get_client().open_orders()
    (request,) = press("KRAKEN")
    begin = Kill.begin

    def begin_then_end(kill: Kill) -> None:
        begin(kill)
        STOP.set()

    with monkeypatch.context() as patched:
        patched.setattr(Kill, "begin", begin_then_end)
        execution.run(ids=[request.pk])
        wait_for(thread_slots.idle, seconds=10)
    STOP.clear()
    row = CancelRequest.objects.get()
    assert (row.status, row.lease_token, row.attempt_count) == ("SENDING", "", 1)
    assert Attempt.objects.get().outcome == "ACKNOWLEDGED"
    execution.take_over_abandoned([snapshot(request)])
    rows = CancelRequest.objects.filter(pk=request.pk)
    wait_for(lambda: rows.get().is_final, seconds=10)
    assert (rows.get().status, len(simulator.calls("KRAKEN"))) == ("CONFIRMED", 1)


def test_one_that_cannot_be_sent_ahead_delays_none_of_the_others(
    simulator: Simulator, press: Press, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = Kill.begin

    def fail_for_one(kill: Kill) -> None:
        if kill.lease.exchange_id == "BINANCE":
            raise MemoryError
        begin(kill)

    monkeypatch.setattr(Kill, "begin", fail_for_one)
    carry_out(press("KRAKEN", "BINANCE", "BITSTAMP"))
    assert {row.status for row in CancelRequest.objects.all()} == {"CONFIRMED"}
    assert len(simulator.calls()) == Attempt.objects.count() == 3


def test_a_process_that_is_ending_or_was_asleep_sends_nothing_ahead(
    simulator: Simulator, press: Press, monkeypatch: pytest.MonkeyPatch
) -> None:
    get_client().open_orders()
    leases_in_order = leases.claim([request.pk for request in press("KRAKEN", "BINANCE")])
    latch = thread_slots.Latch([])
    asleep, ending = (Kill(lease, latch, RequestRecord(lease)) for lease in leases_in_order)
    asleep.lease = replace(asleep.lease, claimed_at=time.monotonic() - FRESH_LEASE_S)
    asleep.begin()
    STOP.set()
    ending.begin()
    assert (asleep.begun, ending.begun) == (None, None)
    assert simulator.calls() == []
    for lease in leases_in_order:
        leases.stop_renewing(lease)


def test_a_takeover_that_fails_does_not_delay_the_others(
    simulator: Simulator, press: Press, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = press("KRAKEN", "BINANCE")
    CancelRequest.objects.update(status="SENDING", first_claimed_at=datetime.now(UTC))
    take_over = leases.take_over

    def fail_for_the_first(snapshot: RequestSnapshot) -> Lease | None:
        if snapshot.id == first.pk:
            raise DataError("a row that cannot be stored")
        return take_over(snapshot)

    monkeypatch.setattr(leases, "take_over", fail_for_the_first)
    watchdog.check_once(watchdog.StallDetector())
    rows = CancelRequest.objects.filter(pk=second.pk)
    wait_for(lambda: rows.get().is_final, seconds=5)


@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), MemoryError()], ids=repr)
def test_a_machine_without_threads_leaves_the_request_to_others(
    error: Exception, simulator: Simulator, press: Press, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start

    def none_left(self: threading.Thread) -> None:
        if self.name == "kill":  # and not one of the EMS
            raise error
        start(self)

    (request,) = press("KRAKEN")
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", none_left)
        execution.run(ids=[request.pk])
    assert CancelRequest.objects.get().status == "SENDING"
    assert thread_slots.idle()
    assert not leases._renewed_until


def test_the_threads_of_a_first_press_share_one_client(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_clients: list[EmsClient] = []

    def connect_slowly() -> EmsClient:
        time.sleep(0.1)
        new_clients.append(EmsClient(base_url="http://127.0.0.1:9"))
        return new_clients[-1]

    monkeypatch.setattr(EmsClient, "from_settings", connect_slowly)
    forget_client()
    with ThreadPoolExecutor(20) as pool:
        clients = list(pool.map(lambda _: get_client(), range(20)))
    forget_client()
    assert clients == new_clients * 20
