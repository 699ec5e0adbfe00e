"""Starts kills: claims requests, or takes them over, and gives each a thread of its own.

What happens in such a thread is in `kill`.
"""

from collections.abc import Callable, Sequence
from functools import partial

import structlog
from django.db import DatabaseError, Error

from killswitch.cancels import leases
from killswitch.cancels.kill import Kill, ShuttingDown
from killswitch.cancels.lease import Lease
from killswitch.cancels.leases import RequestSnapshot
from killswitch.cancels.recording import LeaseLost
from killswitch.cancels.request_record import RequestRecord
from killswitch.cancels.thread_slots import Latch, ThreadSlots
from killswitch.runtime.deadlines import Deadline
from killswitch.runtime.shutdown import STOP

# What carries a request of an origin out, where that is not a plain `Kill`: packages above add it.
KILLS: dict[str, Callable[[Lease, Latch, RequestRecord], Kill]] = {}
# The rest is taken over at the watchdog's next check; new requests go first.
MAX_TAKEOVER_S = 0.5

log = structlog.get_logger(__name__)


def run(*, ids: Sequence[int]) -> None:
    """Claim those of the requests that are still free; return as soon as their threads run."""
    if STOP.is_set():
        return
    with ThreadSlots(len(ids)) as slots:
        if slots.count:
            _start(leases.claim(ids[: slots.count]), slots)


def take_over_abandoned(snapshots: Sequence[RequestSnapshot]) -> list[int]:
    """Take over requests that were released or abandoned, and carry them on.

    Return the ids of those whose takeover the database did not record.
    """
    not_recorded = []
    deadline = Deadline(MAX_TAKEOVER_S)
    for snapshot in snapshots:
        if STOP.is_set() or deadline.has_passed:
            break
        try:
            with ThreadSlots(1) as slots:
                lease = leases.take_over(snapshot) if slots.count else None
                if lease:
                    log.warning("taken_over", request=lease.uuid, exchange=lease.exchange_id)
                    _start([lease], slots)
        except DatabaseError as error:  # the other requests must not wait for this one
            log.warning("not_taken_over", id=snapshot.id, error=str(error).strip())
            not_recorded.append(snapshot.id)
    return not_recorded


def _start(claimed: Sequence[Lease], slots: ThreadSlots) -> None:
    latch = Latch(lease.id for lease in claimed)
    records = [RequestRecord(lease) for lease in claimed]
    kills = [
        KILLS.get(record.lease.origin, Kill)(record.lease, latch, record) for record in records
    ]
    for kill in kills:
        try:
            kill.begin()
        except Exception:  # its thread sends it, and the others go on
            log.exception("not_begun", request=kill.lease.uuid, exchange=kill.lease.exchange_id)
    for kill, record in zip(kills, records, strict=True):
        lease = kill.lease
        try:
            slots.start(partial(_carry_out, kill, record))
        except (RuntimeError, MemoryError):
            # The machine has no thread left. The lease is not renewed, so another process takes
            # the request over within seconds.
            log.exception("no_thread", request=lease.uuid, exchange=lease.exchange_id)
            leases.stop_renewing(lease)
            latch.mark_sent(lease.id)
            kill.close()


def _carry_out(kill: Kill, record: RequestRecord) -> None:
    lease = kill.lease
    try:
        kill.run()
    except LeaseLost:
        log.warning("lease_lost", request=lease.uuid, exchange=lease.exchange_id)
    except ShuttingDown:
        if record.uses_fallback:
            # Taken over as from a dead process, so that the next one allows for what it has sent.
            log.warning("not_released", request=lease.uuid, error="it is recorded elsewhere")
            return
        try:
            leases.release(lease)
        except Error as error:  # the request is taken over when its beats have stopped for a while
            log.warning("not_released", request=lease.uuid, error=str(error).strip())
        else:
            log.info("released", request=lease.uuid, exchange=lease.exchange_id)
    except Exception:
        # Not released: a request that fails at once would be taken over without a pause for ever.
        log.exception("kill_failed", request=lease.uuid, exchange=lease.exchange_id)
    finally:
        leases.stop_renewing(lease)
        kill.latch.mark_sent(lease.id)
        kill.close()
