"""Carries a press out without the database, the queue or any other process.

The same `Kill` that workers run, with the journal in place of the database.
"""

import secrets
import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog
from django.conf import settings

from killswitch.audit.canonical_json import utc_text
from killswitch.break_glass.exchange_snapshot import KnownExchange
from killswitch.break_glass.journal import Journal, JournalUnavailable
from killswitch.break_glass.journal_record import JournalRecord, TimedJournal
from killswitch.break_glass.press import PRESS, Press, PressedExchange, RequestState
from killswitch.cancels.kill import Kill, ShuttingDown
from killswitch.cancels.lease import Lease
from killswitch.cancels.states import Status
from killswitch.cancels.thread_slots import Latch

ORIGIN = "BREAK_GLASS"
# An older figure does not show what was open when the cancel was requested.
MAX_FIGURE_AGE_S = 30.0
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


def new_request(exchange_id: str, known: KnownExchange | None) -> PressedExchange:
    """Return a request with what the snapshot knows of its exchange."""
    return PressedExchange(
        request=str(uuid.uuid4()),
        exchange_id=exchange_id,
        ever_listed=known is not None and known.ever_listed,
        open_before=known.open_orders if known else None,
        open_before_seen_at=known.seen_at if known else None,
    )


def new_nonce() -> str:
    """Return the nonce of a press that has no one-use key."""
    return secrets.token_urlsafe(16)


def start(press: Press, *, journal: TimedJournal) -> RunningPress:
    """Journal the press and start to carry it out; return as soon as its threads run.

    Without a journal it goes out all the same, and its states say so. Raises `NonceUsed`.
    """
    states = [
        RequestState(request=request.request, exchange_id=request.exchange_id)
        for request in press.requests
    ]
    try:
        journal.append(PRESS, press.data)
    except JournalUnavailable as error:
        log.warning("not_journaled", kind=PRESS, press=press.press, error=str(error))
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


def default_journal() -> TimedJournal:
    """Return the journal of this host."""
    return TimedJournal(Journal(Path(settings.KILLSWITCH_HOME)))


def _lease(number: int, press: Press, request: PressedExchange) -> Lease:
    now = time.monotonic()
    return Lease(
        id=number,
        uuid=request.request,
        exchange_id=request.exchange_id,
        origin=ORIGIN,
        status=Status.SENDING,
        token=press.press,
        claimed_at=now,
        request_ends_at=now + press.deadline_ms / 1000,
        taken_over=False,
        next_attempt_at=None,
        open_before=_fresh_open_before(request),
        ever_listed=request.ever_listed,
    )


def _fresh_open_before(request: PressedExchange) -> int | None:
    if request.open_before_seen_at is None:
        return None
    seen_at = datetime.fromisoformat(request.open_before_seen_at)
    is_fresh = abs((datetime.now(UTC) - seen_at).total_seconds()) <= MAX_FIGURE_AGE_S
    return request.open_before if is_fresh else None


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


def utc_now() -> str:
    """Return the time as the journal writes it."""
    return utc_text(datetime.now(UTC))
