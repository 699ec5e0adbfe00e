"""A lease is renewed while its holder lives, and taken over when it does not."""

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from killswitch.audit.recorder import recording
from killswitch.cancels import leases
from killswitch.cancels.models import CancelRequest
from killswitch.cancels.recording import record_attempt
from killswitch.cancels.request_record import RequestRecord
from killswitch.ems.client import get_client
from killswitch.runtime.kept_connections import MAX_WAIT_S, reserved_connection
from killswitch.runtime.postgresql_kept.base import MAX_OPEN, MAX_RESERVED
from killswitch.simulator.server import Simulator
from tests.cancels.conftest import Press
from tests.cancels.kills import snapshot
from tests.threads import holding_connections, run_at_once

pytestmark = [
    pytest.mark.both_databases,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("executor", "short_timeouts"),
]


def test_a_holder_that_recorded_an_attempt_meanwhile_is_not_replaced(
    simulator: Simulator, press: Press
) -> None:
    simulator.script("KRAKEN", orders=5)
    (request,) = press("KRAKEN")
    (lease,) = leases.claim([request.pk])
    before = snapshot(request)
    answer = get_client().cancel_all("KRAKEN")
    record_attempt(lease.id, lease.token, answer=answer, next_attempt_at=None)
    leases.stop_renewing(lease)
    assert leases.take_over(before) is None
    rescuer = leases.take_over(snapshot(request))
    assert rescuer is not None
    leases.stop_renewing(rescuer)


def test_a_claim_of_fifty_takes_as_few_statements_as_a_claim_of_one(press: Press) -> None:
    counts = []
    for ids in (["KRAKEN"], [f"X{number:02}" for number in range(50)]):
        requests = press(*ids)
        with CaptureQueriesContext(connection) as queries:
            claimed = leases.claim([request.pk for request in requests])
        for lease in claimed:
            leases.stop_renewing(lease)
        assert [lease.exchange_id for lease in claimed] == ids
        counts.append(sum("cancelrequest" in query["sql"] for query in queries))
        assert len(queries) <= 5  # with BEGIN, COMMIT and the revision
    assert counts == [2, 2]


def test_a_locked_row_does_not_keep_the_other_leases_from_being_renewed(press: Press) -> None:
    requests = press("KRAKEN", "BINANCE")
    claimed = leases.claim([request.pk for request in requests])
    beats = CancelRequest.objects.values_list("lease_beats", flat=True)
    before = [beats.get(pk=request.pk) for request in requests]
    is_locked, may_end = threading.Event(), threading.Event()

    def write_slowly() -> None:
        with recording(then_release_connection=True):
            CancelRequest.objects.select_for_update().get(pk=requests[0].pk)
            is_locked.set()
            may_end.wait(2.5)

    writer = threading.Thread(target=write_slowly)
    writer.start()
    assert is_locked.wait(5)
    if connection.vendor == "sqlite":  # it has no row locks: writers wait for each other
        may_end.set()
    leases._renew_leases()
    may_end.set()
    writer.join()
    leases._renew_leases()
    after = [beats.get(pk=request.pk) for request in requests]
    for lease in claimed:
        leases.stop_renewing(lease)
    assert after[0] > before[0]
    assert after[1] >= before[1] + 2


def test_a_clock_that_was_set_back_gives_no_extra_time(
    simulator: Simulator, press: Press, settings: Any
) -> None:
    settings.CANCEL_DEADLINE = 60
    (request,) = press("KRAKEN")
    CancelRequest.objects.update(
        status="SENDING", lease_beats=55, first_claimed_at=datetime.now(UTC) + timedelta(hours=1)
    )
    lease = leases.take_over(snapshot(request))
    assert lease is not None
    assert lease.request_ends_at - lease.claimed_at < 6
    leases.stop_renewing(lease)


@pytest.mark.only_on("postgresql")
class TestWhileResultsUseAllOrdinaryConnections:
    """A cancel is claimed, kept and taken over all the same."""

    def test_a_request_is_claimed_renewed_and_taken_over(self, press: Press) -> None:
        (request,) = press("KRAKEN")
        connection.close()
        with holding_connections(MAX_OPEN - MAX_RESERVED):
            (lease,) = leases.claim([request.pk])
            connection.close()
            leases._renew_leases()
            connection.close()
            with reserved_connection():
                before = snapshot(request)
            assert before.lease_beats == 2
            connection.close()
            assert leases.take_over(before)
            connection.close()
        leases.stop_renewing(lease)

    def test_a_result_waits_longer_than_a_page(self, press: Press) -> None:
        (request,) = press("KRAKEN")
        (lease,) = leases.claim([request.pk])
        connection.close()
        with holding_connections(MAX_OPEN - MAX_RESERVED):
            writing = threading.Thread(target=run_at_once, args=[RequestRecord(lease).verifying])
            writing.start()
            writing.join(MAX_WAIT_S + 0.5)
            assert writing.is_alive()
        writing.join(30)
        assert CancelRequest.objects.get().status == "VERIFYING"
        leases.stop_renewing(lease)
