"""Carries a press out without the database, the queue or any other process.

The same `Kill` that workers run, with the journal in place of the database.
"""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog

from killswitch.break_glass.journal import JournalUnavailable, TimedJournal
from killswitch.break_glass.journal_record import JournalRecord
from killswitch.break_glass.press import PRESS, Press, PressedExchange, RequestState
from killswitch.cancels.kill import Kill, ShuttingDown
from killswitch.cancels.lease import Lease, fresh_figure
from killswitch.cancels.states import Status
from killswitch.cancels.thread_slots import Latch

FAILED = "This request ended early because of a defect, before the outcome was known."
INTERRUPTED = "Interrupted before the outcome was known."

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class RunningPress:
    """A press that this process carries out."""

    press: Press
    states: Sequence[RequestState]
    threads: Sequence[threading.Thread]

    @property
    def is_over(self) -> bool:
        return not any(thread.is_alive() for thread in self.threads)


def start(press: Press, *, journal: TimedJournal) -> RunningPress:
    """Journal the press and start to carry it out; return as soon as its threads run.

    Without a journal it goes out all the same, and its states say so. Raises `NonceUsed`.
    """
    states = press.new_states()
    try:
        journal.append(PRESS, press.data)
    except JournalUnavailable as error:
        log.warning("not_journaled", kind=PRESS, press=press.uuid, error=str(error))
        for state in states:
            state.not_journaled = str(error)
    latch = Latch(range(len(states)))
    threads = []
    for number, (request, state) in enumerate(zip(press.requests, states, strict=True)):
        lease = _lease(number, press, request)
        kill = Kill(lease, latch, JournalRecord(state, journal))
        thread = threading.Thread(target=_run, args=[kill, state], name="kill", daemon=True)
        try:
            thread.start()
        except (RuntimeError, MemoryError):  # without a thread left, one after the other
            log.exception("no_thread", exchange=request.exchange_id)
            _run(kill, state)
        threads.append(thread)
    return RunningPress(press=press, states=states, threads=threads)


def _lease(number: int, press: Press, request: PressedExchange) -> Lease:
    now = time.monotonic()
    seen_at = request.open_before_seen_at
    return Lease(
        id=number,
        uuid=request.request,
        exchange_id=request.exchange_id,
        origin=press.origin,
        status=Status.SENDING,
        token=press.uuid,
        claimed_at=now,
        request_ends_at=now + press.deadline_ms / 1000,
        taken_over=False,
        next_attempt_at=None,
        open_before=fresh_figure(
            request.open_before,
            seen_at=datetime.fromisoformat(seen_at) if seen_at else None,
            at=datetime.fromisoformat(press.asked_at),
        ),
        ever_listed=request.ever_listed,
    )


def _run(kill: Kill, state: RequestState) -> None:
    try:
        kill.run()
    except ShuttingDown:
        state.sentence = INTERRUPTED
    except Exception:
        state.sentence = FAILED
        log.exception("kill_failed", request=state.request, exchange=state.exchange_id)
    finally:
        kill.latch.mark_sent(kill.lease.id)
