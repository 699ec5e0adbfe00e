"""What the page of one request shows: its outcome, the orders left open, and its attempts."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Self

from django.db.models import Q

from killswitch.accounts.models import User
from killswitch.alarms.models import Alarm, AlarmKind
from killswitch.cancels.confirmation import REASONS
from killswitch.cancels.models import Attempt, Batch, CancelRequest, ResidualOrder
from killswitch.cancels.retry import RetryOffer
from killswitch.cancels.status_display import StatusBadge, attempt_badge, second_look_text
from killswitch.cancels.view_models import may_complete
from killswitch.runtime.text import duration_text

MAX_RUNS = 8  # more of them are folded into one, so that no page is a list of alternating attempts


@dataclass(frozen=True, kw_only=True)
class AttemptRun:
    """Successive attempts that ended alike, which the page folds into one line.

    Their texts may differ, and each of them is shown below that line.
    """

    attempts: Sequence[Attempt]

    @classmethod
    def of(cls, attempts: Sequence[Attempt]) -> list[Self]:
        """Return the attempts in runs, in their order."""
        runs = [cls(attempts=list(run)) for _, run in groupby(attempts, key=_end)]
        return runs if len(runs) <= MAX_RUNS else [cls(attempts=attempts)]

    @property
    def first(self) -> Attempt:
        return self.attempts[0]

    @property
    def last(self) -> Attempt:
        return self.attempts[-1]

    @property
    def is_folded(self) -> bool:
        return len(self.attempts) > 1

    @property
    def is_mixed(self) -> bool:
        return len({_end(attempt) for attempt in self.attempts}) > 1

    @property
    def badge(self) -> StatusBadge:
        """Return the badge of the line, e.g. "20 attempts, all accepted by the EMS"."""
        badges = [attempt_badge(attempt) for attempt in self.attempts]
        counts = Counter(badge.words for badge in badges)
        if len(counts) == 1:
            words = f"{len(badges)} attempts, all {badges[0].words}"
        else:
            parts = (f"{count} {outcome}" for outcome, count in counts.most_common())
            words = f"{len(badges)} attempts: {', '.join(parts)}"
        if self.is_mixed:
            return StatusBadge(icon="ask", tone="odd", words=words)
        return StatusBadge(icon=badges[0].icon, tone=badges[0].tone, words=words)

    @property
    def reject_reason(self) -> str:
        """Return the reject reason that all of them share."""
        return "" if self.is_mixed else self.first.reject_reason

    @property
    def durations(self) -> str:
        """Return how long the calls took, e.g. "180 ms to 2.1 s"; empty if one is not known."""
        durations = [attempt.duration_us for attempt in self.attempts]
        known = [duration_us / 1000 for duration_us in durations if duration_us is not None]
        if len(known) < len(durations):
            return ""
        shortest, longest = duration_text(min(known)), duration_text(max(known))
        return shortest if shortest == longest else f"{shortest} to {longest}"

    @property
    def may_have_been_carried_out(self) -> bool:
        return any(attempt.may_have_been_carried_out for attempt in self.attempts)


@dataclass(frozen=True, kw_only=True)
class RequestPage:
    """One request with everything that is known of it."""

    request: CancelRequest
    batch_size: int
    timeline: Sequence[AttemptRun | Alarm]
    orders: Sequence[ResidualOrder]
    later_alarms: Sequence[Alarm]
    second_look: str
    offer: RetryOffer
    may_complete: bool

    reasons = REASONS

    @classmethod
    def of(cls, request: CancelRequest, *, user: User) -> Self:
        """Read the page of a request as this person sees it."""
        of_break_glass = Q(kind=AlarmKind.BREAK_GLASS, subject=str(request.batch.uuid))
        alarms = list(
            Alarm.objects.filter(Q(request_id=str(request.uuid)) | of_break_glass).order_by(
                "raised_at"
            )
        )
        ended_at = request.finished_at
        later_alarms = [alarm for alarm in alarms if ended_at and alarm.raised_at >= ended_at]
        earlier_alarms = [alarm for alarm in alarms if alarm not in later_alarms]
        runs = AttemptRun.of(list(request.attempts.all()))
        return cls(
            request=request,
            batch_size=request.batch.requests.count(),
            timeline=sorted([*runs, *earlier_alarms], key=_timeline_at),
            orders=list(request.residual_orders.all()),
            later_alarms=later_alarms,
            second_look=second_look_text(request, request.second_looks.all()),
            offer=RetryOffer.of(request.batch, [request], user=user),
            may_complete=may_complete(request.batch, user=user),
        )

    @property
    def batch(self) -> Batch:
        return self.request.batch


def _end(attempt: Attempt) -> tuple[object, ...]:
    """Return what makes attempts alike; messages may hold a number that differs every time."""
    return (
        attempt.outcome,
        attempt.http_status,
        attempt.reject_reason,
        attempt.may_have_been_carried_out,
        attempt.by_dead_holder,
    )


def _timeline_at(row: AttemptRun | Alarm) -> datetime:
    """Return where a row belongs in the timeline; a dead process's start is not known."""
    if isinstance(row, Alarm):
        return row.raised_at
    return row.first.started_at or row.first.finished_at
