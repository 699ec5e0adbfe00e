"""One request, from its claim to its final status: the whole kill, readable top to bottom.

No transaction is open, no lock is held and no database connection is kept while the EMS is being
called or waited for. The kill sleeps and loops in a thread of its own until all that can be known
is known. What it does is recorded by its `KillRecord`: in the database, or in the journal of this
host.
"""

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import structlog

from killswitch.cancels.conclusion import (
    AttemptSummary,
    Conclusion,
    ListHistory,
    OpenOrdersAfter,
    conclude,
    conclude_without_sending,
)
from killswitch.cancels.kill_record import KillRecord
from killswitch.cancels.lease import Lease
from killswitch.cancels.pacing import (
    FIRST_READ_PAUSE_S,
    MAX_READ_PAUSE_S,
    SETTLE_TIME_S,
    RetrySchedule,
    rest_of_pause,
)
from killswitch.cancels.states import Status
from killswitch.cancels.thread_slots import Latch
from killswitch.ems.answers import Outcome, RetryAdvice
from killswitch.ems.client import BegunCancel, get_client
from killswitch.runtime.background_log import BACKGROUND_LOG
from killswitch.runtime.shutdown import STOP

# POSTs in a row without a pause, each because a connection broke when it was used again.
MAX_IMMEDIATE_RESENDS = 2
# How often an accepted cancel is sent while the list of open orders cannot be read.
MAX_UNVERIFIED_POSTS = 5
# Without an accepted cancel, an empty list is read again after this long, unless the list was empty
# before: lists lag, and flap between replicas.
SECOND_LOOK_S = 2.0
# How often the list is read after the last POST of a refused request, until it can be read.
MAX_FINAL_READS = 5
READ_PAUSE_AFTER_429_S = 4.0
# A watchdog needs longer than this to take over, so such a lease need not be checked.
FRESH_LEASE_S = 1.0

log = structlog.get_logger(__name__)


class ShuttingDown(Exception):
    """This process is ending; the request is to be released for another one."""


class Kill:
    """One request under the lease of this process."""

    def __init__(self, lease: Lease, latch: Latch, record: KillRecord) -> None:
        self.lease = lease
        self.latch = latch
        self.record = record
        self.status = lease.status
        self.schedule = RetrySchedule(ends_at=lease.request_ends_at)
        self.attempts = AttemptSummary()
        self.list_history = ListHistory(
            open_before=lease.open_before, ever_listed=lease.ever_listed
        )
        self.last_list: OpenOrdersAfter | None = None
        self.empty_since: float | None = None  # the first empty list after the last POST
        self.min_read_pause_s = 0.0
        self.last_was_acknowledged = False  # the last attempt, also one of an earlier holder
        self.dead_holders = 0
        self.begun: BegunCancel | None = None  # a first cancel whose answer is not read yet

    def begin(self) -> None:
        """Send the first cancel, if that takes no waiting for the network.

        Called for all requests of a claim, one after the other, before their threads start: each
        change of threads may cost the next exchange some milliseconds while processors are busy.
        """
        is_first = self._is_fresh and not (self.lease.taken_over or self.lease.too_old_since)
        if STOP.is_set() or not is_first:
            return
        self.begun = get_client().begin_cancel_all(
            self.lease.exchange_id,
            timeout=self.schedule.post_timeout,
            on_sent=partial(self.latch.mark_sent, self.lease.id),
            request_id=self.lease.uuid,
        )

    def close(self) -> None:
        """Give up a cancel whose answer was not read: no thread could start, or its kill failed."""
        if self.begun:
            self.begun.abandon()

    def run(self) -> None:
        """Carry the request out.

        Raises `ShuttingDown`, and `LeaseLost` when another process has taken the request over.
        """
        if self.lease.taken_over:
            self._load_earlier_attempts()
        if self.lease.too_old_since:
            self._finish_without_sending(self.lease.too_old_since)
            return
        if self._must_send_first():
            self._send_until_delivered()
        if self.attempts.may_have_reached_the_ems:
            self._read_until_empty()
        self._finish()

    def _load_earlier_attempts(self) -> None:
        """Add the attempts of earlier holders, and keep to the pause that the last one planned."""
        attempts = self.record.earlier_attempts()
        self.attempts = AttemptSummary.of(attempts)
        finished_attempts = [attempt for attempt in attempts if not attempt.by_dead_holder]
        self.dead_holders = len(attempts) - len(finished_attempts)
        for attempt in finished_attempts:
            self.schedule.count_answer(attempt)
        if finished_attempts:
            last = finished_attempts[-1]
            self.last_was_acknowledged = last.outcome == Outcome.ACKNOWLEDGED
            planned_at = self.lease.next_attempt_at
            if self.last_was_acknowledged:
                planned_at = last.finished_at + timedelta(seconds=SETTLE_TIME_S)
            if planned_at:
                now = datetime.now(UTC)
                self.schedule.inherit_pause(
                    rest_of_pause(planned_at=planned_at, answered_at=last.finished_at, now=now)
                )

    def _must_send_first(self) -> bool:
        """Return False when the list of open orders is to be read before anything is sent.

        An earlier holder may have died before it sent anything, so as a rule sending comes first.
        """
        if (
            self.status is Status.VERIFYING
            or self.last_was_acknowledged
            or self.schedule.is_refused_for_good
        ):
            return False
        # What may have been carried out is read before it is sent again while the EMS wants a
        # pause, and when the time is over and sending may be what the holders died of.
        return not (
            (self.attempts.delivered and self.schedule.waits_for_retry_after)
            or (self.dead_holders > 1 and self.schedule.seconds_left <= 0)
        )

    def _send_until_delivered(self) -> None:
        """POST, and again after pauses, until the EMS may have received it or time is up."""
        while True:
            if not self.begun:
                self._pause(self.schedule.until_next_post)
            self._post()
            if self.attempts.delivered or not self.schedule.may_post_again:
                return

    def _read_until_empty(self) -> None:
        """Read the open orders until none are left or time is up; cancel again while some are.

        A request that was only refused ends soon after it may not be sent again.
        """
        pause, final_reads = FIRST_READ_PAUSE_S, 0
        while not self._read() and self.schedule.seconds_left > 0:
            may_still_change = self.attempts.list_decides or self.schedule.may_post_again
            if second_look_s := self._until_second_look:
                self._pause(min(second_look_s, self.schedule.seconds_left))
            elif self.schedule.may_post_now and not self._waits_for_a_list:
                self._post()
                pause = FIRST_READ_PAUSE_S
            elif may_still_change or (self._is_unread and final_reads < MAX_FINAL_READS):
                final_reads += not may_still_change
                self._pause(self.schedule.until_next_read(max(pause, self.min_read_pause_s)))
                pause = min(pause * 2, MAX_READ_PAUSE_S)
            else:
                return

    @property
    def _until_second_look(self) -> float | None:
        """Return the seconds until an empty list is read again; None if that is not needed."""
        is_proof = self.attempts.acknowledged or self.list_history.was_empty
        if self.empty_since is None or is_proof or not self.attempts.delivered:
            return None
        return max(self.empty_since + SECOND_LOOK_S - time.monotonic(), 0.0)

    @property
    def _is_fresh(self) -> bool:
        return time.monotonic() - self.lease.claimed_at < FRESH_LEASE_S

    @property
    def _is_unread(self) -> bool:
        return self.last_list is None or self.last_list.count is None

    @property
    def _waits_for_a_list(self) -> bool:
        """Return True when an accepted cancel was sent often enough, without a list to show it."""
        was_sent_often = self.schedule.answers_in_all >= MAX_UNVERIFIED_POSTS
        return self._is_unread and self.last_was_acknowledged and was_sent_often

    def _post(self) -> None:
        """Call the EMS and record the attempt; repeat it at once where that is safe."""
        for _ in range(1 + MAX_IMMEDIATE_RESENDS):
            begun, self.begun = self.begun, None
            if not begun:
                if STOP.is_set():
                    raise ShuttingDown
                # A process that slept may have lost its lease, and would cancel orders placed
                # later.
                if self.schedule.posts or not self._is_fresh:
                    self._check_lease()
                if self.schedule.posts and not self.schedule.may_post_again:
                    return  # checking the lease took so long that no time is left for a POST
            self.record.announce_attempt()
            answer = get_client().cancel_all(
                self.lease.exchange_id,
                timeout=self.schedule.post_timeout,
                on_sent=partial(self.latch.mark_sent, self.lease.id),
                before_reading=self.latch.wait,
                begun=begun,
                request_id=self.lease.uuid,
            )
            self.latch.wait()  # also if it was not sent
            # Only a list that is requested after the last POST ended counts.
            self.last_list, self.empty_since = None, None
            self.last_was_acknowledged = answer.outcome is Outcome.ACKNOWLEDGED
            self.attempts = self.attempts.including(answer)
            self.schedule.record_answer(answer)
            will_retry = not self.last_was_acknowledged and self.schedule.may_post_again
            next_attempt_at = self._next_post_at() if will_retry else None
            self.record.attempt(answer, next_attempt_at=next_attempt_at)
            BACKGROUND_LOG.info(
                log,
                "attempt",
                request=self.lease.uuid,
                exchange=self.lease.exchange_id,
                outcome=str(answer.outcome),
                http_status=answer.http_status,
                ms=answer.duration_ms,
            )
            if answer.retry_advice is not RetryAdvice.AT_ONCE or not self.schedule.may_post_again:
                return

    def _read(self) -> bool:
        """Read the open orders once; return True when an empty list ends the request.

        Before a cancel has reached the EMS, an empty list does not: an EMS that has just started
        may not have loaded the orders of its exchanges yet.
        """
        latest = self._read_list(timeout=self.schedule.read_timeout(owed=self.last_list is None))
        if latest.count == 0:
            is_over = self.schedule.seconds_left <= 0 or not self._until_second_look
            if is_over and (self.attempts.delivered or not self.schedule.may_post_again):
                self.last_list = replace(latest, is_counted=False)
                return True
        waits = self.schedule.waits_for_retry_after or self.status is Status.SENDING
        will_retry = waits and self.schedule.may_post_again
        self.record.read(next_attempt_at=self._next_post_at() if will_retry else None)
        return False

    def _read_list(self, *, timeout: float) -> OpenOrdersAfter:
        """Read the list, and keep what it proves; the caller records the read."""
        if STOP.is_set():
            raise ShuttingDown
        if self.attempts.list_decides and self.status is not Status.VERIFYING:
            self.record.verifying()
            self.status = Status.VERIFYING
        orders = get_client().open_orders(
            self.lease.exchange_id, timeout=timeout, request_id=self.lease.uuid
        )
        count = orders.count(self.lease.exchange_id) if orders.readable else None
        latest = OpenOrdersAfter(answer=orders, count=count)
        # A list that could be read is kept when a later one cannot be: it proves more, unless it
        # was an empty one of which this was the second look.
        if count is not None or self._is_unread or self._until_second_look is not None:
            self.last_list = latest
        self.min_read_pause_s = READ_PAUSE_AFTER_429_S if orders.http_status == 429 else 0.0
        if count == 0:
            self.empty_since = self.empty_since or time.monotonic()
        else:
            self.empty_since = None
        if count:
            is_named = orders.named_count(self.lease.exchange_id) > 0
            self.list_history = self.list_history.after_orders(are_named=is_named)
        return latest

    def _check_lease(self) -> None:
        self.record.ensure_lease()

    def _next_post_at(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.schedule.until_next_post)

    def _finish(self) -> None:
        conclusion = self._conclude()
        self.record.end(before=self.status, conclusion=conclusion, last_list=self.last_list)
        log.info(
            "finished",
            request=self.lease.uuid,
            exchange=self.lease.exchange_id,
            status=str(conclusion.status),
        )

    def _finish_without_sending(self, requested_at: datetime) -> None:
        """End a request that a restart or a restored backup has brought up again."""
        if self.attempts.list_decides and self.status is not Status.VERIFYING:
            self.record.verifying()
            self.status = Status.VERIFYING
        conclusion = conclude_without_sending(
            self.attempts,
            why=(
                f"It was requested on {requested_at:%Y-%m-%d at %H:%M:%S} UTC, so long ago"
                " that it may no longer be wanted."
            ),
        )
        self.record.end(before=self.status, conclusion=conclusion, last_list=None)
        log.warning(
            "too_old",
            request=self.lease.uuid,
            exchange=self.lease.exchange_id,
            status=str(conclusion.status),
        )

    def _conclude(self) -> Conclusion:
        return conclude(
            self.attempts,
            self.last_list,
            exchange_id=self.lease.exchange_id,
            history=self.list_history,
        )

    def _pause(self, seconds: float) -> None:
        if STOP.wait(max(seconds, 0.0)):
            raise ShuttingDown
