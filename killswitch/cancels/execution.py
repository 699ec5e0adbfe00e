"""What a worker does with recorded requests: take those that nobody has, a thread for each.

What happens in such a thread is in `kill`.
"""

import time
from collections.abc import Sequence
from functools import partial

import structlog
from django.db import DatabaseError, Error

from killswitch.cancels import leases, recording
from killswitch.cancels.kill import Kill, ShuttingDown
from killswitch.cancels.leases import STOP, Lease, StaleLease
from killswitch.cancels.thread_slots import Latch, ThreadSlots

MAX_TAKEOVER_S = 0.5  # seconds of taking over in one look

log = structlog.get_logger(__name__)


def run(*, ids: Sequence[int]) -> None:
    """Carry out those of the requests that nobody has; returns as soon as they are under way."""
    if STOP.is_set():
        return
    with ThreadSlots(len(ids)) as places:
        if places.count:
            _start(leases.claim(ids[: places.count]), places)


def take_over_stale(overdue: Sequence[StaleLease]) -> None:
    """Take over requests whose holder let go or stands still, and carry them on.

    Not for long at a time: the rest is still overdue at the next look, and new requests go first.
    """
    began = time.monotonic()
    for each in overdue:
        if STOP.is_set() or time.monotonic() - began > MAX_TAKEOVER_S:
            return
        try:
            _rescue(each)
        except DatabaseError as error:  # of this one: the others must not wait for it
            log.warning("not_taken_over", id=each.id, error=str(error).strip())


def _rescue(overdue: StaleLease) -> None:
    with ThreadSlots(1) as places:
        held = leases.take_over(overdue) if places.count else None
        if held:
            log.warning("taken_over", request=held.uuid, exchange=held.exchange_id)
            _start([held], places)


def _start(held: Sequence[Lease], places: ThreadSlots) -> None:
    latch = Latch(each.id for each in held)
    for each in held:
        try:
            places.start(partial(_carry_out, each, latch))
        except (RuntimeError, MemoryError):
            # No thread to be had: without proofs of life somebody else takes it over in seconds.
            log.exception("no_thread", request=each.uuid, exchange=each.exchange_id)
            leases.stop_renewing(each)
            latch.left(each.id)


def _carry_out(held: Lease, latch: Latch) -> None:
    try:
        Kill(held, latch).run()
        leases.stop_renewing(held)
    except recording.LeaseLost:
        log.warning("claim_lost", request=held.uuid, exchange=held.exchange_id)
        leases.stop_renewing(held)
    except ShuttingDown:
        _let_go(held)
    except Exception:
        # The claim is not released: the watchdog takes over in three seconds, and not at once.
        log.exception("kill_failed", request=held.uuid, exchange=held.exchange_id)
        leases.stop_renewing(held)
    finally:
        latch.left(held.id)


def _let_go(held: Lease) -> None:
    try:
        leases.release(held)
    except Error as error:
        # It will be taken over all the same, when its counter has stood still for long enough.
        log.warning("not_released", request=held.uuid, error=str(error).strip())
    else:
        log.info("released", request=held.uuid, exchange=held.exchange_id)
