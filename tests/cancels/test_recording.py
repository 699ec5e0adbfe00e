"""What happened is recorded once, and only the holder of the lease changes the request."""

import threading
import time
from functools import partial

import pytest

from killswitch.audit.models import AuditEvent
from killswitch.audit.recorder import recording
from killswitch.cancels import leases
from killswitch.cancels.conclusion import Conclusion
from killswitch.cancels.models import CancelRequest
from killswitch.cancels.recording import (
    LeaseLost,
    finish,
    record_attempt,
    record_read,
    start_verifying,
)
from killswitch.cancels.states import Status
from killswitch.ems.client import get_client
from killswitch.simulator.server import Simulator
from tests.cancels.conftest import Press

pytestmark = [
    pytest.mark.both_databases,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("executor", "short_timeouts"),
]


def test_without_the_lease_an_attempt_is_recorded_and_no_status_changes(
    simulator: Simulator, press: Press
) -> None:
    (request,) = press("KRAKEN")
    (lease,) = leases.claim([request.pk])
    rows = CancelRequest.objects.filter(id=request.pk)
    rows.update(lease_token="another:1:x")
    answer = get_client().cancel_all("KRAKEN")
    refused = Conclusion(status=Status.REJECTED, sentence="no")
    for change in (
        start_verifying,
        record_read,
        partial(finish, before=Status.SENDING, conclusion=refused, last_list=None),
    ):
        with pytest.raises(LeaseLost):
            change(lease.id, lease.token)
    record_attempt(lease.id, lease.token, answer=answer, next_attempt_at=None)
    row = rows.get()
    assert (row.status, row.attempt_count, row.message) == ("SENDING", 1, "")
    assert AuditEvent.objects.filter(kind="ATTEMPT").count() == 1
    leases.stop_renewing(lease)


def test_an_attempt_whose_first_try_is_still_committing_is_recorded_once(
    simulator: Simulator, press: Press
) -> None:
    (request,) = press("KRAKEN")
    (lease,) = leases.claim([request.pk])
    leases.stop_renewing(lease)
    answer = get_client().cancel_all("KRAKEN")
    record = partial(record_attempt, lease.id, lease.token, answer=answer, next_attempt_at=None)
    is_written = threading.Event()

    def commit_slowly() -> None:
        with recording(then_release_connection=True) as open_recording:
            record()
            open_recording.write_events()
            is_written.set()
            time.sleep(0.5)

    first_try = threading.Thread(target=commit_slowly)
    first_try.start()
    assert is_written.wait(5)
    record()
    first_try.join()
    assert request.attempts.count() == 1
    assert AuditEvent.objects.filter(kind="ATTEMPT").count() == 1
