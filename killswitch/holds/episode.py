"""One episode of a Hold: cancels what is listed until the exchange has been empty for a while.

It is carried out like any other request, under a lease that another process takes over. It differs
in when it sends and when it ends: it sends as long as orders are listed, whatever the EMS answered
before; blindly every 5 s while the list cannot be read; and it ends after 10 s without an order, at
its deadline, or when the Hold is released.
"""

import time
from contextlib import suppress

import structlog
from django.conf import settings
from django.db import Error, connection
from django.db.models.functions import Now

from killswitch.cancels import execution
from killswitch.cancels.conclusion import Conclusion, OpenOrdersAfter
from killswitch.cancels.kill import Kill
from killswitch.cancels.lease import Lease
from killswitch.cancels.models import Origin
from killswitch.cancels.pacing import MAX_READ_PAUSE_S, RetrySchedule
from killswitch.cancels.request_record import DatabaseGone, RequestRecord
from killswitch.cancels.states import Status
from killswitch.cancels.thread_slots import Latch
from killswitch.ems.answers import Outcome, TimedCancelAnswer
from killswitch.holds.models import Episode
from killswitch.holds.order_lives import OrderLives
from killswitch.holds.recording import (
    QUIET_S,
    begin_episode,
    finish_episode,
    record_episode_read,
    still_held,
)

READ_INTERVAL_S = 0.5
RECORD_INTERVAL_S = 0.9
# No call is waited for longer: the next one may find the EMS well, and a cancel sent twice is
# harmless. With both, a blind Hold still sends about every 5 s.
MAX_CALL_S = 4.0
MIN_READ_S = 1.0
RESEND_PAUSE_S = 0.8  # after an accepted cancel, while orders are listed
IDLE_RESEND_PAUSE_S = 2.0  # after one that did not change the list
BLIND_PAUSE_S = 5.0
MAX_RETRY_AFTER_S = 30.0

log = structlog.get_logger(__name__)


class HoldReleased(Exception):
    """The Hold of the episode was released, so nothing more may be sent."""


class EpisodeSchedule(RetrySchedule):
    """Sends again while time is left, whatever the EMS has answered."""

    has_effect = True  # the cancels make orders disappear

    @property
    def ems_pause_s(self) -> float:
        """Return what is left of a pause that the EMS asked for."""
        return self.until_next_post if self._ems_wants_pause else 0.0

    @property
    def may_post_again(self) -> bool:
        return self.seconds_left > 0

    @property
    def is_refused_for_good(self) -> bool:
        return False

    @property
    def post_timeout(self) -> float:
        return min(MAX_CALL_S, float(settings.EMS_TIMEOUT))

    def _pause_after(self, answer: TimedCancelAnswer) -> float:
        if answer.outcome is Outcome.ACKNOWLEDGED:
            return RESEND_PAUSE_S if self.has_effect else IDLE_RESEND_PAUSE_S
        return min(super()._pause_after(answer), BLIND_PAUSE_S)

    def _bounded_pause(self, pause: float) -> float:
        return min(pause, MAX_RETRY_AFTER_S)


class HoldEpisode(Kill):
    """The request of one episode, under the lease of this process."""

    quiet_s = QUIET_S

    def __init__(self, lease: Lease, latch: Latch, record: RequestRecord) -> None:
        super().__init__(lease, latch, record)
        self.request_record = record
        self.schedule: EpisodeSchedule = EpisodeSchedule(ends_at=lease.request_ends_at)
        self.lives = OrderLives()
        self.posted_at = self.recorded_at = 0.0
        self.hold_id = 0
        self.gone_at_post = 0
        self.is_released = False

    def begin(self) -> None:
        """Send nothing yet: `run` checks first whether the exchange is still held."""

    def run(self) -> None:
        """Carry the episode out. Raises `ShuttingDown` and `LeaseLost`."""
        if self.lease.taken_over:
            self._load_earlier_attempts()
        try:
            self._check_hold()
            self._hold_until_quiet()
        except HoldReleased:
            self.is_released = True
        self._finish()
        is_recorded = not self.request_record.uses_fallback
        if (
            is_recorded
            and self.last_list
            and self.last_list.count
            and not self.schedule.ems_pause_s
        ):
            # At the deadline, the next episode follows without waiting for the next read.
            orders = self.last_list.count
            next_id = begin_episode(self.hold_id, orders=orders, symbols=self.lives.symbols)
            if next_id is not None:
                execution.run(ids=[next_id])

    def _check_hold(self) -> None:
        """Raise `HoldReleased` unless the exchange is still held. Locks nothing."""
        try:
            is_held = still_held(self.lease.id)
        except Error:  # recording what is sent waits for the database
            log.warning("hold_not_checked", request=self.lease.uuid)
            is_held = True
        finally:
            connection.close()
        if not is_held:
            raise HoldReleased

    def _load_orders(self) -> None:
        """Go on from the orders that were seen before this process took part."""
        rows = Episode.objects.annotate(now=Now())
        try:
            episode = self.request_record.write(lambda request_id, _: rows.get(request=request_id))
        except DatabaseGone:  # the orders that this process sees are cancelled all the same
            return
        self.hold_id = episode.hold_id
        oldest_at = episode.oldest_open_at
        age_s = (vars(episode)["now"] - oldest_at).total_seconds() if oldest_at else 0.0
        open_before = episode.orders_seen - episode.orders_cancelled
        self.lives = OrderLives(
            open_before=open_before,
            oldest_before_at=time.monotonic() - age_s,
            seen_before=episode.orders_seen,
            gone_before=episode.orders_cancelled,
            longest_s=episode.longest_life_ms / 1000,
            symbols=list(episode.symbols),
        )

    def _hold_until_quiet(self) -> None:
        # What was seen when the episode began is cancelled at once, unless that was done before.
        is_due, is_blind = not self.lease.taken_over, False
        while True:
            if is_due:
                self._pause(self.schedule.until_next_post)
                # A cancel that has no effect is not sent as often.
                gone = self.lives.gone
                self.schedule.has_effect = not self.schedule.posts or gone > self.gone_at_post
                self.gone_at_post = gone
                self._post()
                self.posted_at = time.monotonic()
            if not self.hold_id:  # not before the first POST, which is waited for
                self._load_orders()
                self.gone_at_post = self.lives.gone
            timeout_s = min(MAX_CALL_S, float(settings.EMS_TIMEOUT))
            if is_blind:  # a list that hangs must not delay the next blind cancel for long
                timeout_s = min(timeout_s, max(self._until_blind_post_s, MIN_READ_S))
            looked_at = time.monotonic()
            latest = self._read_list(timeout=timeout_s)
            if not self._record(latest):
                raise HoldReleased
            # Quiet until this look: recording it may have waited for a database that is gone.
            is_quiet = self.empty_since and looked_at - self.empty_since >= self.quiet_s
            if is_quiet or self.schedule.seconds_left <= 0:
                return
            is_due, is_blind = self._must_send(latest.count), latest.count is None
            if not is_due:
                interval_s = min(READ_INTERVAL_S, settings.HOLD_INTERVAL)
                blind_s = min(MAX_READ_PAUSE_S, self._until_blind_post_s) if is_blind else 0.0
                self._pause(max(interval_s, blind_s, self.min_read_pause_s))

    def _record(self, latest: OpenOrdersAfter) -> bool:
        """Record a list unless it says nothing new; return False when the Hold was released."""
        now = time.monotonic()
        orders = (self.lives.seen, self.lives.gone)
        if latest.count is not None:
            is_whole = not latest.answer.error and not latest.answer.may_have_more
            self.lives.observe(latest.answer.orders, count=latest.count, now=now, is_whole=is_whole)
        is_new = orders != (self.lives.seen, self.lives.gone)
        if not is_new and now - self.recorded_at < RECORD_INTERVAL_S:
            return True
        self.recorded_at = now
        waits = self.schedule.ems_pause_s > 0
        try:
            return self.request_record.write(
                record_episode_read,
                lives=self.lives,
                latest=latest,
                next_attempt_at=self._next_post_at() if waits else None,
            )
        except DatabaseGone:  # whether it was released cannot be known, so it goes on
            return True

    @property
    def _until_blind_post_s(self) -> float:
        return self.posted_at + BLIND_PAUSE_S - time.monotonic()

    def _conclude(self) -> Conclusion:
        conclusion = super()._conclude()
        if not self.is_released:
            return conclusion
        sentence = f"{conclusion.sentence} The Hold was released."
        if conclusion.status is Status.NOT_DELIVERED and not self.schedule.answers_in_all:
            sentence = "The Hold was released before a cancel was sent."
        return Conclusion(status=conclusion.status, sentence=sentence)

    def _finish(self) -> None:
        """Record the end; without the database another process ends the episode when it is back."""
        with suppress(DatabaseGone):
            self.request_record.write(
                finish_episode,
                pause_s=self.schedule.ems_pause_s,
                before=self.status,
                conclusion=self._conclude(),
                last_list=self.last_list,
            )

    def _must_send(self, count: int | None) -> bool:
        """Return True when a cancel is due: for listed orders, or blindly after a while."""
        if count is None:
            return self._until_blind_post_s <= 0 and self.schedule.may_post_now
        return count > 0 and self.schedule.may_post_now

    def _check_lease(self) -> None:
        """Check the lease and the Hold before sending again. Raises `HoldReleased` as well."""
        super()._check_lease()
        self._check_hold()


execution.KILLS[Origin.HOLD] = HoldEpisode
