"""Ends requests in flight without sending them, for a backup that was restored."""

import time
from collections.abc import Sequence

from killswitch.audit.actors import Actor
from killswitch.cancels import leases, recording
from killswitch.cancels.conclusion import AttemptSummary, conclude_without_sending
from killswitch.cancels.lease import Lease
from killswitch.cancels.leases import RequestSnapshot
from killswitch.cancels.models import Attempt, CancelRequest
from killswitch.cancels.states import Status
from killswitch.cancels.watchdog import ABANDONED_AFTER_S, snapshots


def abandonable(*, wait_s: float = ABANDONED_AFTER_S) -> Sequence[RequestSnapshot]:
    """Return the requests in flight that no process carries out: their rows do not change."""
    before = snapshots()
    if before:
        time.sleep(wait_s)
    after = snapshots()
    return [snapshot for snapshot in after if snapshot in before]


def abandon(snapshot: RequestSnapshot, *, by: Actor, reason: str) -> CancelRequest | None:
    """End a request as far as it is known, in the name of a person; None if it has changed.

    Raises `django.db.Error`, and `LeaseLost` when a process takes it over meanwhile.
    """
    if snapshot.status is Status.REQUESTED:
        lease = next(iter(leases.claim([snapshot.id])), None)
    else:
        lease = leases.take_over(snapshot)
    if lease is None:
        return None
    try:
        _finish(lease, by=by, reason=reason)
    finally:
        leases.stop_renewing(lease)
    return CancelRequest.objects.get(pk=lease.id)


def _finish(lease: Lease, *, by: Actor, reason: str) -> None:
    attempts = AttemptSummary.of(Attempt.objects.filter(request_id=lease.id))
    status = lease.status
    if attempts.list_decides and status is not Status.VERIFYING:
        recording.start_verifying(lease.id, lease.token)
        status = Status.VERIFYING
    why = f"{by.name} ended it on the command line: {reason.rstrip('.')}."
    recording.finish(
        lease.id,
        lease.token,
        before=status,
        conclusion=conclude_without_sending(attempts, why=why),
        last_list=None,
        by=by,
    )
