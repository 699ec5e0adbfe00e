"""What a worker does with recorded requests: the whole kill, readable top to bottom.

No transaction is open, no lock is held and no database connection is kept while the EMS is being
asked or waited for. Each request has a thread of its own, which sleeps and loops until what can
be known is known.
"""

import random
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from typing import TypeVar

import structlog
from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError

from killswitch.cancels import holding, records
from killswitch.cancels.evidence import Evidence, Reading, conclude
from killswitch.cancels.holding import STOP, Held, Overdue, short_transaction
from killswitch.cancels.models import Attempt
from killswitch.cancels.states import Status
from killswitch.ems.answers import Answer, Outcome, Resend
from killswitch.ems.client import EmsClient

THREADS = 512
LONGEST_LATCH = 0.1  # seconds that writing waits for the press's other POSTs to leave
# Pauses stay below the 5 s after which a request without progress is an alarm.
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 4.0  # seconds between POSTs, doubling
FIRST_READ_PAUSE, LONGEST_READ_PAUSE = 0.1, 2.0  # seconds between reads, doubling
SETTLING = 2.0  # seconds an acknowledged cancel gets before it is sent again
MOST_AT_ONCE = 2  # POSTs in a row without a pause, on connections that broke when reused
LATEST_RECORD = 30.0  # seconds past its time that a result waits for a database that is gone

log = structlog.get_logger(__name__)
T = TypeVar("T")


class Stopped(Exception):
    """This process is ending; the request is released for the next one."""


class Latch:
    """Opens when the first POST of each request of a press has left, or never will."""

    def __init__(self, request_ids: Iterable[int]) -> None:
        self._waited_for = set(request_ids)
        self._lock = threading.Lock()
        self._open = threading.Event()

    def left(self, request_id: int) -> None:
        with self._lock:
            self._waited_for.discard(request_id)
            if not self._waited_for:
                self._open.set()

    def wait(self) -> None:
        self._open.wait(LONGEST_LATCH)


def run(*, ids: Sequence[int]) -> None:
    """Carry out those of the requests that nobody has; returns as soon as they are under way."""
    if STOP.is_set():
        return
    places = _take_places(len(ids))
    held = holding.claim(ids[:places]) if places else []
    _give_back(places - len(held))
    _start(held)


def rescue(overdue: Sequence[Overdue]) -> None:
    """Take over requests whose holder let go or stands still, and carry them on."""
    for each in overdue:
        if STOP.is_set() or not _take_places(1):
            return
        held = holding.take_over(each)
        if held:
            log.warning("taken_over", request=held.uuid, exchange=held.exchange_id)
            _start([held])
        else:
            _give_back(1)


@cache
def ems() -> EmsClient:
    """This process's one client, with its kept-alive connections."""
    return EmsClient.from_settings()


_executor = ThreadPoolExecutor(THREADS, thread_name_prefix="kill")
_places = threading.BoundedSemaphore(THREADS)


def _take_places(wanted: int) -> int:
    """Never claim more than there are threads to carry it out."""
    taken = 0
    while taken < wanted and _places.acquire(blocking=False):
        taken += 1
    return taken


def _give_back(places: int) -> None:
    if places:
        _places.release(places)


def _start(held: Sequence[Held]) -> None:
    latch = Latch(each.id for each in held)
    for each in held:
        _executor.submit(_carry_out, each, latch)


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
        _places.release()


def _let_go(held: Held) -> None:
    try:
        holding.release(held)
    except DatabaseError as error:
        # It will be taken over all the same, when its counter has stood still for long enough.
        log.warning("not_released", request=held.uuid, error=str(error).strip())
    else:
        log.info("released", request=held.uuid, exchange=held.exchange_id)


class Kill:
    """One request, from its claim to its final status."""

    def __init__(self, held: Held, latch: Latch) -> None:
        self.held = held
        self.latch = latch
        self.evidence = Evidence()
        self.answer: Answer | None = None  # the last one of our own
        self.may_post_at = 0.0  # monotonic seconds
        self.posts = 0
        self.reading: Reading | None = None

    def run(self) -> None:
        """The whole kill."""
        if self.held.taken_over:
            self._recall()
        if self.held.status is not Status.VERIFYING:
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
        while not self.evidence.list_decides and self._may_send_again():
            self._pause(self.may_post_at - time.monotonic())
            self._post()

    def _read_until_empty(self) -> None:
        """Read the open orders until none are left or time is up; cancel again while some are."""
        pause = FIRST_READ_PAUSE
        while not self._read() and self._time_left() > 0:
            if self._should_cancel_again():
                self._post()
                pause = FIRST_READ_PAUSE
                continue
            self._pause(min(pause, self._time_left()))
            pause = min(pause * 2, LONGEST_READ_PAUSE)

    def _post(self) -> None:
        """One call to the EMS, kept whatever comes of it; repeated at once where that is safe."""
        for _ in range(1 + MOST_AT_ONCE):
            if STOP.is_set():
                raise Stopped
            answer = ems().cancel_all(
                self.held.exchange_id,
                timeout=self._post_timeout(),
                on_sent=partial(self.latch.left, self.held.id),
            )
            self.latch.wait()
            self.posts += 1
            self.reading = None  # only reads begun after the last POST ended count
            self.answer = answer
            self.evidence = self.evidence.with_call(answer)
            self._plan_next(answer)
            self._keep(answer)
            if answer.resend is not Resend.AT_ONCE or not self._time_for_a_post():
                return

    def _plan_next(self, answer: Answer) -> None:
        pause = min(FIRST_PAUSE * 2.0 ** (self.posts - 1), LONGEST_PAUSE)
        if answer.outcome is Outcome.ACKNOWLEDGED:
            pause = max(pause, SETTLING)
        pause *= random.uniform(0.8, 1.0)  # noqa: S311  # jitter, not a secret
        self.may_post_at = time.monotonic() + max(pause, answer.retry_after or 0.0)

    def _keep(self, answer: Answer) -> None:
        again_in = self.may_post_at - time.monotonic()
        will = answer.outcome is not Outcome.ACKNOWLEDGED and self._may_send_again()
        next_at = datetime.now(UTC) + timedelta(seconds=max(again_in, 0)) if will else None
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
        late = self.reading is None
        timeout = settings.EMS_TIMEOUT if late else max(1.0, self._time_left())
        orders = ems().open_orders(
            self.held.exchange_id, timeout=min(timeout, settings.EMS_TIMEOUT)
        )
        count = orders.count(self.held.exchange_id) if orders.readable else None
        # A list that could be read outlives a later one that could not: it says more.
        if count is not None or self.reading is None or self.reading.count is None:
            self.reading = Reading(orders=orders, count=count)
        if count != 0:
            self._write(
                partial(records.read, self.held.id, holder=self.held.token, next_attempt_at=None)
            )
        return count == 0

    def _should_cancel_again(self) -> bool:
        """Orders remain after a pause, or nothing can be read and nothing was acknowledged."""
        if self.answer is None:
            return self._time_for_a_post()
        unread = self.reading is None or self.reading.count is None
        if unread and self.answer.outcome is Outcome.ACKNOWLEDGED:
            return False
        return self._may_send_again() and time.monotonic() >= self.may_post_at

    def _may_send_again(self) -> bool:
        """The last answer does not forbid it, and there is time for it and a read after it."""
        if self.answer is None:
            return self._time_for_a_post()
        repeatable = (
            self.answer.resend is not Resend.NEVER or self.answer.outcome is Outcome.ACKNOWLEDGED
        )
        starts_in = max(self.may_post_at - time.monotonic(), 0.0)
        return repeatable and self._time_left() - starts_in > self._reserve()

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

    def _time_left(self) -> float:
        return self.held.ends_at - time.monotonic()

    def _reserve(self) -> float:
        """Seconds at the end that are kept for reading."""
        return float(min(settings.EMS_TIMEOUT, settings.CANCEL_DEADLINE / 2))

    def _time_for_a_post(self) -> bool:
        return self._time_left() > self._reserve()

    def _post_timeout(self) -> float:
        """The first POST has its whole time however late it is; a later one leaves time to read."""
        if self.posts == 0:
            return float(settings.EMS_TIMEOUT)
        return min(float(settings.EMS_TIMEOUT), max(self._time_left() - self._reserve(), 0.1))

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
            except (OperationalError, InterfaceError) as error:
                if time.monotonic() > latest:
                    raise
                log.warning("database_gone", request=self.held.uuid, error=str(error).strip())
            time.sleep(pause)
            pause = min(pause * 2, LONGEST_READ_PAUSE)
