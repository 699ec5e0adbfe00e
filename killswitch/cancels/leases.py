"""Who carries a request out: claiming, proving to be alive, taking over, letting go.

The holder of a request is a token (process and claim). While it holds, its process raises the
request's counter once a second; the watchdog takes over what stands still. Status changes compare
the token, so a holder that lost its claim changes nothing more.
"""

import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog
from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.db.models import F

from killswitch.cancels import recording
from killswitch.cancels.models import CancelRequest
from killswitch.cancels.states import IN_FLIGHT, Status
from killswitch.runtime.revisions import next_revision

RENEW_INTERVAL_S = 1.0  # seconds between two proofs of life
MAX_OVERTIME_S = 5.0  # seconds past a request's time after which a stuck holder stops proving life

STOP = threading.Event()
"""Set when this process is asked to end: every pause ends at once and lets go."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Lease:
    """A request that this process carries out."""

    id: int
    uuid: str
    exchange_id: str
    status: Status
    token: str
    claimed_at: float  # monotonic seconds, as is the next
    ends_at: float
    taken_over: bool
    next_attempt_at: datetime | None  # as the last holder had planned


@dataclass(frozen=True, kw_only=True)
class StaleLease:
    """A claimed request that nobody seems to carry out, as the watchdog saw it."""

    id: int
    status: Status
    lease_token: str
    lease_beats: int
    ended: int  # attempts and reads on record


def claim(ids: Sequence[int]) -> list[Lease]:
    """Take the requests among these that nobody has yet, in one compare-and-set."""
    token = _new_lease_token()
    with short_transaction():
        free = CancelRequest.objects.filter(id__in=ids, status=Status.REQUESTED, lease_token="")
        if not free.update(
            status=Status.SENDING,
            lease_token=token,
            lease_beats=F("lease_beats") + 1,
            first_claimed_at=datetime.now(UTC),
        ):
            return []
        mine = CancelRequest.objects.filter(id__in=ids, lease_token=token)
        mine.update(revision=next_revision())
        held = [_lease_of(request, taken_over=False) for request in mine.order_by("id")]
    _keep_renewing(held)
    return held


def take_over(overdue: StaleLease) -> Lease | None:
    """Take a request whose holder let go or stands still; None when somebody else was faster.

    A holder that did not let go may have sent something: that is recorded as an attempt of
    unknown outcome before anything else is done.
    """
    token = _new_lease_token()
    with short_transaction():
        # What it has written meanwhile is a sign of life too: its proofs leave locked rows out.
        seen = CancelRequest.objects.annotate(ended=F("attempt_count") + F("reads")).filter(
            **vars(overdue)
        )
        if not seen.update(lease_token=token, lease_beats=F("lease_beats") + 1):
            return None
        recording.record_takeover(overdue.id, dead_holder=overdue.lease_token, lease_token=token)
        held = _lease_of(CancelRequest.objects.get(id=overdue.id), taken_over=True)
    _keep_renewing([held])
    return held


def release(held: Lease) -> None:
    """Let go, so that the next one need not wait for proofs of life to fail to come."""
    stop_renewing(held)
    with short_transaction():
        CancelRequest.objects.filter(id=held.id, lease_token=held.token).update(lease_token="")


def stop_renewing(held: Lease) -> None:
    """Stop proving life for a request that is finished or lost."""
    with _lock:
        _renewed_until.pop((held.token, held.id), None)


@contextmanager
def short_transaction() -> Iterator[None]:
    """One transaction, after which no connection is kept: the next thing is a wait."""
    try:
        with transaction.atomic():
            yield
    finally:
        connection.close()


_PROCESS = f"{socket.gethostname()[:40]}:{os.getpid()}:{secrets.token_hex(4)}"
_lock = threading.Lock()
_renewed_until: dict[tuple[str, int], float] = {}
_renewing_threads: list[threading.Thread] = []


def _new_lease_token() -> str:
    return f"{_PROCESS}:{secrets.token_hex(6)}"


def _lease_of(request: CancelRequest, *, taken_over: bool) -> Lease:
    assert request.first_claimed_at is not None  # noqa: S101  # a constraint holds it
    spent = (datetime.now(UTC) - request.first_claimed_at).total_seconds()
    # A clock that jumped gives no more than the whole time, and no less than none; one that was
    # set back does not give it twice, for the counter has counted the seconds.
    spent = max(spent, request.lease_beats - 1.0)
    left = max(settings.CANCEL_DEADLINE - spent, 0.0)
    return Lease(
        id=request.pk,
        uuid=str(request.uuid),
        exchange_id=request.exchange_id,
        status=Status(request.status),
        token=request.lease_token,
        claimed_at=time.monotonic(),
        ends_at=time.monotonic() + left,
        taken_over=taken_over,
        next_attempt_at=request.next_attempt_at,
    )


def _keep_renewing(held: Sequence[Lease]) -> None:
    with _lock:
        for each in held:
            # Late work gets the time of the one call and the one read that it is owed.
            owed = time.monotonic() + 2 * settings.EMS_TIMEOUT
            _renewed_until[each.token, each.id] = max(each.ends_at, owed) + MAX_OVERTIME_S
        if not _renewing_threads:
            thread = threading.Thread(target=_renew_for_ever, name="beat", daemon=True)
            try:
                thread.start()
            except (RuntimeError, MemoryError):
                # None to be had: others take over, and the next claim tries again.
                log.exception("no_thread_to_prove_life")
            else:
                _renewing_threads.append(thread)


def _renew_for_ever() -> None:
    while True:
        time.sleep(RENEW_INTERVAL_S)
        try:
            _renew_leases()
        except DatabaseError as error:
            log.warning("beat_failed", error=str(error).strip())
        except Exception:  # a dead thread would let every claim of this process be taken
            log.exception("beat_failed")


def _renew_leases() -> None:
    now = time.monotonic()
    with _lock:
        for key in [key for key, until in _renewed_until.items() if until < now]:
            del _renewed_until[key]
        tokens = {token for token, _ in _renewed_until}
        ids = [request_id for _, request_id in _renewed_until]
    if tokens:
        with short_transaction():
            mine = CancelRequest.objects.filter(
                id__in=ids, lease_token__in=tokens, status__in=sorted(IN_FLIGHT)
            )
            # In the order in which everybody locks them: another one could deadlock. What somebody
            # is writing is left out: the others must not pass for dead because of it.
            free = mine.select_for_update(skip_locked=True, no_key=True).order_by("id")
            ids = list(free.values_list("id", flat=True))
            mine.filter(id__in=ids).update(lease_beats=F("lease_beats") + 1)
