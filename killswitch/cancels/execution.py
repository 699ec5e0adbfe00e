"""What a worker does with recorded requests: the whole kill, readable top to bottom.

No transaction is open, no lock is held and no database connection is kept while the EMS is being
asked or waited for. Each request has a thread of its own, which sleeps and loops until what can
be known is known.
"""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeVar

import structlog
from django.db import (
    DatabaseError,
    Error,
    InterfaceError,
    InternalError,
    OperationalError,
)

from killswitch.cancels import holding, records
from killswitch.cancels.evidence import Evidence, Reading, conclude
from killswitch.cancels.holding import STOP, Held, Overdue, short_transaction
from killswitch.cancels.models import Attempt
from killswitch.cancels.pacing import FIRST_READ_PAUSE, LONGEST_READ_PAUSE, Pace
from killswitch.cancels.states import Status
from killswitch.cancels.threads import Latch, Places
from killswitch.ems.answers import Answer, Outcome, Resend
from killswitch.ems.shared import ems

MOST_AT_ONCE = 2  # POSTs in a row without a pause, on connections that broke when reused
FRESH_CLAIM = 1.0  # seconds in which nobody can have taken a claim over
LONGEST_RESCUE = 0.5  # seconds of taking over in one look
LATEST_RECORD = 30.0  # seconds past its time that a result waits for a database that is gone

log = structlog.get_logger(__name__)
T = TypeVar("T")


class Stopped(Exception):
    """This process is ending; the request is released for the next one."""


def run(*, ids: Sequence[int]) -> None:
    """Carry out those of the requests that nobody has; returns as soon as they are under way."""
    if STOP.is_set():
        return
    with Places(len(ids)) as places:
        if places.count:
            _start(holding.claim(ids[: places.count]), places)


def rescue(overdue: Sequence[Overdue]) -> None:
    """Take over requests whose holder let go or stands still, and carry them on.

    Not for long at a time: the rest is still overdue at the next look, and new requests go first.
    """
    began = time.monotonic()
    for each in overdue:
        if STOP.is_set() or time.monotonic() - began > LONGEST_RESCUE:
            return
        try:
            _rescue(each)
        except DatabaseError as error:  # of this one: the others must not wait for it
            log.warning("not_taken_over", id=each.id, error=str(error).strip())


def _rescue(overdue: Overdue) -> None:
    with Places(1) as places:
        held = holding.take_over(overdue) if places.count else None
        if held:
            log.warning("taken_over", request=held.uuid, exchange=held.exchange_id)
            _start([held], places)


def _start(held: Sequence[Held], places: Places) -> None:
    latch = Latch(each.id for each in held)
    for each in held:
        try:
            places.start(partial(_carry_out, each, latch))
        except (RuntimeError, MemoryError):
            # No thread to be had: without proofs of life somebody else takes it over in seconds.
            log.exception("no_thread", request=each.uuid, exchange=each.exchange_id)
            holding.forget(each)
            latch.left(each.id)


def _carry_out(held: Held, latch: Latch) -> None:
    try:
        Kill(held, latch).run()
        holding.forget(held)
    except records.Lost:
        log.warning("claim_lost", request=held.uuid, exchange=held.exchange_id)
        holding.forget(held)
    except Stopped:
        _let_go(held)
    except Exception:
        # The claim is not released: the watchdog takes over in three seconds, and not at once.
        log.exception("kill_failed", request=held.uuid, exchange=held.exchange_id)
        holding.forget(held)
    finally:
        latch.left(held.id)


def _let_go(held: Held) -> None:
    try:
        holding.release(held)
    except Error as error:
        # It will be taken over all the same, when its counter has stood still for long enough.
        log.warning("not_released", request=held.uuid, error=str(error).strip())
    else:
        log.info("released", request=held.uuid, exchange=held.exchange_id)


class Kill:
    """One request, from its claim to its final status."""

    def __init__(self, held: Held, latch: Latch) -> None:
        self.held = held
        self.latch = latch
        self.pace = Pace(ends_at=held.ends_at)
        self.evidence = Evidence()
        self.answer: Answer | None = None  # the last one of our own
        self.reading: Reading | None = None
        self.refused_for_good = False  # to an earlier holder, who let go before it could finish

    def run(self) -> None:
        """The whole kill."""
        if self.held.taken_over:
            self._recall()
        if self.held.status is not Status.VERIFYING and not self.refused_for_good:
            self._send_until_answered()
        if self.evidence.list_decides:
            if self.held.status is not Status.VERIFYING:
                self._write(partial(records.verifying, self.held.id, holder=self.held.token))
            self._read_until_empty()
            self._finish(Status.VERIFYING)
        else:
            if self.evidence.refused:
                self._read()
            self._finish(Status.SENDING)

    def _send_until_answered(self) -> None:
        """POST, again after pauses, until it may have been carried out or there is no point."""
        self._post()
        while not self.evidence.list_decides and self.pace.may_post_again:
            self._pause(self.pace.until_next_post)
            self._post()

    def _read_until_empty(self) -> None:
        """Read the open orders until none are left or time is up; cancel again while some are."""
        pause = FIRST_READ_PAUSE
        while not self._read() and self.pace.left > 0:
            if self._should_cancel_again():
                self._post()
                pause = FIRST_READ_PAUSE
                continue
            self._pause(min(pause, self.pace.left))
            pause = min(pause * 2, LONGEST_READ_PAUSE)

    def _post(self) -> None:
        """One call to the EMS, kept whatever comes of it; repeated at once where that is safe."""
        for _ in range(1 + MOST_AT_ONCE):
            if STOP.is_set():
                raise Stopped
            self._fence()
            self.answer = ems().cancel_all(
                self.held.exchange_id,
                timeout=self.pace.post_timeout,
                on_sent=partial(self.latch.left, self.held.id),
            )
            self.latch.wait()
            self.reading = None  # only reads begun after the last POST ended count
            self.evidence = self.evidence.with_call(self.answer)
            self.pace.answered(self.answer)
            self._keep(self.answer)
            if self.answer.resend is not Resend.AT_ONCE or not self.pace.may_post_again:
                return

    def _fence(self) -> None:
        """Whoever slept for long may have lost the claim, and would cancel what came afterwards."""
        just_claimed = time.monotonic() - self.held.claimed_at < FRESH_CLAIM
        if self.pace.posts or not just_claimed:
            self._write(partial(records.still_held, self.held.id, holder=self.held.token))

    def _keep(self, answer: Answer) -> None:
        next_at = None
        if answer.outcome is not Outcome.ACKNOWLEDGED and self.pace.may_post_again:
            next_at = datetime.now(UTC) + timedelta(seconds=self.pace.until_next_post)
        self._write(
            partial(
                records.attempt,
                self.held.id,
                holder=self.held.token,
                answer=answer,
                next_attempt_at=next_at,
            )
        )

    def _read(self) -> bool:
        """One read of the open orders; True when it says that there are none."""
        if STOP.is_set():
            raise Stopped
        orders = ems().open_orders(
            self.held.exchange_id,
            timeout=self.pace.read_timeout(owed=self.reading is None),
        )
        count = orders.count(self.held.exchange_id) if orders.readable else None
        # A list that could be read outlives a later one that could not: it says more.
        if count is not None or self.reading is None or self.reading.count is None:
            self.reading = Reading(orders=orders, count=count)
        if count != 0:
            self._write(partial(records.read, self.held.id, holder=self.held.token))
        return count == 0

    def _should_cancel_again(self) -> bool:
        """Orders remain after a pause, or nothing can be read and nothing was acknowledged."""
        unread = self.reading is None or self.reading.count is None
        acknowledged = self.answer is not None and self.answer.outcome is Outcome.ACKNOWLEDGED
        return self.pace.may_post_now and not (unread and acknowledged)

    def _finish(self, before: Status) -> None:
        verdict = conclude(self.evidence, self.reading)
        self._write(
            partial(
                records.finish,
                self.held.id,
                holder=self.held.token,
                before=before,
                verdict=verdict,
                reading=self.reading,
            )
        )
        log.info(
            "finished",
            request=self.held.uuid,
            exchange=self.held.exchange_id,
            status=str(verdict.status),
        )

    def _recall(self) -> None:
        """Add what earlier holders have on record."""
        earlier = self._write(
            lambda: list(Attempt.objects.filter(request_id=self.held.id).defer("body"))
        )
        self.evidence = Evidence.of(earlier)
        refused = self.evidence.refused and not self.evidence.list_decides
        self.refused_for_good = refused and not self.held.is_to_be_sent_again

    def _pause(self, seconds: float) -> None:
        if STOP.wait(max(seconds, 0.0)):
            raise Stopped

    def _write(self, statement: Callable[[], T]) -> T:
        """Write in one short transaction; a database that is gone is waited for, within reason."""
        latest = max(self.held.ends_at, time.monotonic()) + LATEST_RECORD
        pause = FIRST_READ_PAUSE
        while True:
            try:
                with short_transaction():
                    return statement()
            except (OperationalError, InterfaceError, InternalError) as error:
                if time.monotonic() > latest:
                    raise
                log.warning("database_gone", request=self.held.uuid, error=str(error).strip())
            time.sleep(pause)
            pause = min(pause * 2, LONGEST_READ_PAUSE)
