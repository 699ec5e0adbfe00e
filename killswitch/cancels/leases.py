"""Who carries a request out: claim it, renew the lease, take over, release.

A lease is a token in the row of the request, unique for each claim. Its holder counts `lease_beats`
up once a second; when the row stops changing, a watchdog takes the request over. Every change of
status compares the token, so a process that lost its lease changes no status.
"""

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog
from django.conf import settings
from django.db import Error, transaction
from django.db.models import F

from killswitch.audit.recorder import recording
from killswitch.cancels.lease import Lease, fresh_figure
from killswitch.cancels.models import CancelRequest, Origin
from killswitch.cancels.recording import record_takeover
from killswitch.cancels.states import IN_FLIGHT, Status
from killswitch.runtime.kept_connections import release_connection, reserved_connection
from killswitch.runtime.leases import new_lease_token
from killswitch.runtime.periodic import PeriodicTask

RENEW_INTERVAL_S = 1.0
NOTE_INTERVAL_S = 1.0
# Of a request, what its lease consists of. Loading whole rows would hold up the first cancel.
LEASE_COLUMNS = (
    "id",
    "uuid",
    "exchange_id",
    "batch__origin",
    "batch__asked_at",
    "status",
    "lease_token",
    "lease_beats",
    "first_claimed_at",
    "next_attempt_at",
    "open_before",
    "open_before_seen_at",
    "configured_exchange__first_listed_at",
)
# How long after its request's deadline a thread that hangs still renews; then others take over.
MAX_RENEWAL_OVERTIME_S = 5.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class RequestSnapshot:
    """A request in flight as a watchdog saw it. It is taken over only while it still looks so."""

    id: int
    status: Status
    lease_token: str
    lease_beats: int
    finished_calls: int  # attempts and reads on record
    dead_holders: int = 0  # attempts among them that were recorded for a dead holder


def claim(ids: Sequence[int]) -> list[Lease]:
    """Claim those of the requests that are still free, in one transaction that locks them first."""
    token, now = new_lease_token(), datetime.now(UTC)
    with reserved_connection(), recording(then_release_connection=True) as record:
        free = CancelRequest.objects.filter(id__in=ids, status=Status.REQUESTED, lease_token="")
        # Locked first, because the counter of revisions is locked after all other rows.
        rows = free.select_for_update(no_key=True, of=("self",)).order_by("id")
        claimed = list(rows.values(*LEASE_COLUMNS))
        if not claimed:
            return []
        CancelRequest.objects.filter(id__in=[row["id"] for row in claimed]).update(
            status=Status.SENDING,
            lease_token=token,
            lease_beats=F("lease_beats") + 1,
            first_claimed_at=now,
            revision=record.revision,
        )
        leases = [
            _lease(
                row
                | {
                    "status": Status.SENDING,
                    "lease_token": token,
                    "lease_beats": row["lease_beats"] + 1,
                    "first_claimed_at": now,
                },
                taken_over=False,
            )
            for row in claimed
        ]
    _keep_renewing(leases)
    return leases


def take_over(snapshot: RequestSnapshot) -> Lease | None:
    """Take over a request that was released or abandoned; None when it has changed meanwhile.

    A holder that did not release it may have sent something. Before anything else is done, that is
    recorded as an attempt with an unknown outcome.
    """
    token = new_lease_token()
    with reserved_connection(), recording(then_release_connection=True):
        # Renewing leaves out a row that its holder is writing, so what was written counts as well.
        unchanged_rows = CancelRequest.objects.annotate(
            finished_calls=F("attempt_count") + F("reads")
        ).filter(
            id=snapshot.id,
            status=snapshot.status,
            lease_token=snapshot.lease_token,
            lease_beats=snapshot.lease_beats,
            finished_calls=snapshot.finished_calls,
        )
        if not unchanged_rows.update(lease_token=token, lease_beats=F("lease_beats") + 1):
            return None
        record_takeover(snapshot.id, dead_holder=snapshot.lease_token, lease_token=token)
        lease = _lease(
            CancelRequest.objects.values(*LEASE_COLUMNS).get(id=snapshot.id), taken_over=True
        )
    _keep_renewing([lease])
    return lease


def release(lease: Lease) -> None:
    """Give the request back, so that another process takes it over without waiting."""
    stop_renewing(lease)
    with recording(then_release_connection=True):
        rows = CancelRequest.objects.filter(id=lease.id, lease_token=lease.token)
        rows.update(lease_token="")


def note_requests_at_start() -> None:
    """Remember which requests were recorded before this process started.

    Only these can be too old to be sent. It has seen the others come, whatever the clocks say;
    until the database can be read, the clocks decide for all.
    """
    try:
        _note_newest()
    except Error as error:
        log.warning("requests_at_start_not_read", error=str(error).strip())
        is_noted = threading.Event()

        def work() -> None:
            _note_newest()
            is_noted.set()

        PeriodicTask(
            name="requests-at-start",
            work=work,
            interval_s=NOTE_INTERVAL_S,
            first_pause_s=NOTE_INTERVAL_S,
        ).start_thread(is_noted)
    finally:
        release_connection()


def _note_newest() -> None:
    newest = CancelRequest.objects.order_by("-id").values_list("id", flat=True)
    _newest_at_start[:] = [newest.first() or 0]


def stop_renewing(lease: Lease) -> None:
    """Stop renewing the lease of a request that is finished, lost or given up."""
    with _lock:
        _renewed_until.pop((lease.token, lease.id), None)


_lock = threading.Lock()
_renewed_until: dict[tuple[str, int], float] = {}
_renewing_threads: list[threading.Thread] = []
_newest_at_start: list[int] = []


def _lease(row: Mapping[str, Any], *, taken_over: bool) -> Lease:
    """Return the lease that the `LEASE_COLUMNS` of a claimed request describe."""
    spent_s = (datetime.now(UTC) - row["first_claimed_at"]).total_seconds()
    # The clock may have jumped. Ahead, it costs at most the whole time; back, it gives no time
    # twice, because the beats have counted the seconds.
    spent_s = max(spent_s, row["lease_beats"] - 1.0)
    now = time.monotonic()
    return Lease(
        id=row["id"],
        uuid=str(row["uuid"]),
        exchange_id=row["exchange_id"],
        origin=row["batch__origin"],
        status=Status(row["status"]),
        token=row["lease_token"],
        claimed_at=now,
        request_ends_at=now + max(settings.CANCEL_DEADLINE - spent_s, 0.0),
        taken_over=taken_over,
        next_attempt_at=row["next_attempt_at"],
        open_before=fresh_figure(
            row["open_before"], seen_at=row["open_before_seen_at"], at=row["first_claimed_at"]
        ),
        ever_listed=row["configured_exchange__first_listed_at"] is not None,
        too_old_since=row["batch__asked_at"] if _is_too_old(row) else None,
    )


def _is_too_old(row: Mapping[str, Any]) -> bool:
    """Return whether this cancel may no longer be wanted.

    A Hold asks again before it sends anything.
    """
    has_seen_it_come = _newest_at_start and row["id"] > _newest_at_start[0]
    if row["batch__origin"] == Origin.HOLD or has_seen_it_come:
        return False
    age_s = (datetime.now(UTC) - row["batch__asked_at"]).total_seconds()
    # A restart must not end what would still be sent without it.
    return bool(age_s > max(settings.REQUEST_MAX_AGE, settings.CANCEL_DEADLINE))


def _keep_renewing(leases: Sequence[Lease]) -> None:
    with _lock:
        for lease in leases:
            # A late request is still owed the whole time of one call and of one read.
            owed_until = time.monotonic() + 2 * settings.EMS_TIMEOUT
            until = max(lease.request_ends_at, owed_until) + MAX_RENEWAL_OVERTIME_S
            _renewed_until[lease.token, lease.id] = until
        if _renewing_threads:
            return
        task = PeriodicTask(
            name="renew-leases",
            work=_renew_leases,
            interval_s=RENEW_INTERVAL_S,
            first_pause_s=RENEW_INTERVAL_S,  # the claim was the first beat
        )
        try:
            _renewing_threads.append(task.start_thread(threading.Event()))
        except (RuntimeError, MemoryError):
            # Without a thread others take over, and the next claim tries again.
            log.exception("no_thread_to_renew_leases")


def _renew_leases() -> None:
    now = time.monotonic()
    with _lock:
        for key in [key for key, until in _renewed_until.items() if until < now]:
            del _renewed_until[key]
        tokens = {token for token, _ in _renewed_until}
        ids = [request_id for _, request_id in _renewed_until]
    if not tokens:
        return
    with reserved_connection(), transaction.atomic():
        rows = CancelRequest.objects.filter(
            id__in=ids, lease_token__in=tokens, status__in=sorted(IN_FLIGHT)
        )
        # Locked in the order of their keys, as everywhere; another order could deadlock. A row that
        # is being written is left out: waiting for it would make the others look abandoned.
        free = rows.select_for_update(skip_locked=True, no_key=True).order_by("id")
        ids = list(free.values_list("id", flat=True))
        rows.filter(id__in=ids).update(lease_beats=F("lease_beats") + 1)
