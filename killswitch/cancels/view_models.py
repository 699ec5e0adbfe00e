"""What the pages of a batch, of a request and of the list show, read from the rows."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from killswitch.accounts.models import User
from killswitch.alarms.models import Alarm
from killswitch.cancels.confirmation import MAX_EXCHANGES, REASONS, Target
from killswitch.cancels.models import Attempt, Batch, CancelRequest, ResidualOrder
from killswitch.cancels.states import Status
from killswitch.cancels.status_display import second_look_text
from killswitch.exchanges.models import UncoveredExchange

REOPENED = "REOPENED"  # not a status: CONFIRMED, and orders were open again soon after

# What needs a person most comes first.
SEVERITY = (
    Status.RESIDUAL,
    REOPENED,
    Status.REJECTED,
    Status.NOT_DELIVERED,
    Status.UNKNOWN,
    Status.UNVERIFIED,
    Status.REQUESTED,
    Status.SENDING,
    Status.VERIFYING,
    Status.CONFIRMED,
)
SUMMARY_LABELS: dict[str, str] = {
    REOPENED: "reopened (orders open again)",
    Status.RESIDUAL: "with orders still open",
    Status.REJECTED: "rejected",
    Status.NOT_DELIVERED: "not delivered",
    Status.UNKNOWN: "with unknown outcome",
    Status.UNVERIFIED: "accepted but not verified",
    Status.REQUESTED: "not sent yet",
    Status.SENDING: "sending",
    Status.VERIFYING: "checking",
}


@dataclass(frozen=True, kw_only=True)
class BatchPage:
    """One batch and all its requests, the worst outcomes first."""

    batch: Batch
    requests: Sequence[CancelRequest]
    retry: Target | None
    retry_key: str
    retry_reason: str  # never another person's
    may_complete: bool
    uncovered: Sequence[UncoveredExchange]

    reasons = REASONS

    @classmethod
    def of(cls, batch: Batch, *, user: User) -> Self:
        """Read the page of a batch as this person sees it."""
        requests = sorted(
            batch.requests.select_related("configured_exchange"),
            key=lambda row: (
                SEVERITY.index(_outcome(row)),
                row.configured_exchange.position,
                row.pk,
            ),
        )
        for request in requests:
            request.batch = batch
        bad = tuple(
            row.configured_exchange
            for row in requests
            if row.needs_attention and row.configured_exchange.enabled
        )
        retry = Target(exchanges=bad[:MAX_EXCHANGES]) if bad else None
        return cls(
            batch=batch,
            requests=requests,
            retry=retry,
            retry_key=retry.key(user_id=user.pk) if retry else "",
            retry_reason=batch.reason if batch.by_id == user.pk else "",
            may_complete=may_complete(batch, user=user),
            uncovered=list(UncoveredExchange.objects.all()) if batch.everywhere else (),
        )

    @property
    def in_flight(self) -> bool:
        return any(not request.is_final for request in self.requests)

    @property
    def summary(self) -> str:
        return summary(self.requests)


@dataclass(frozen=True, kw_only=True)
class RequestPage:
    """One request with everything that is known of it."""

    request: CancelRequest
    timeline: Sequence[Attempt | Alarm]
    orders: Sequence[ResidualOrder]
    later_alarms: Sequence[Alarm]
    second_look: str
    may_complete: bool

    reasons = REASONS

    @classmethod
    def of(cls, request: CancelRequest, *, user: User) -> Self:
        """Read the page of a request as this person sees it."""
        alarms = list(Alarm.objects.filter(request_id=str(request.uuid)).order_by("raised_at"))
        ended_at = request.finished_at
        later_alarms = [alarm for alarm in alarms if ended_at and alarm.raised_at >= ended_at]
        earlier_alarms = [alarm for alarm in alarms if alarm not in later_alarms]
        return cls(
            request=request,
            timeline=sorted([*request.attempts.all(), *earlier_alarms], key=_timeline_at),
            orders=list(request.residual_orders.all()),
            later_alarms=later_alarms,
            second_look=second_look_text(request, request.second_looks.all()),
            may_complete=may_complete(request.batch, user=user),
        )


def may_complete(batch: Batch, *, user: User) -> bool:
    """Return whether this person may add the reason: the requester may, once."""
    return batch.by_id == user.pk and batch.completed_at is None


def summary(requests: Sequence[CancelRequest]) -> str:
    """Return e.g. "47 of 50 confirmed, 2 with orders still open, 1 rejected: JSON_ERROR"."""
    flat = sum(request.is_refused_while_flat for request in requests)
    counts = Counter(_outcome(request) for request in requests if not request.is_refused_while_flat)
    parts = [f"{counts[Status.CONFIRMED]} of {len(requests)} confirmed"]
    if flat:
        parts.append(f"{flat} refused with no open orders")
    for outcome in SEVERITY[:-1]:
        if counts[outcome]:
            parts.append(f"{counts[outcome]} {SUMMARY_LABELS[outcome]}")
            if outcome == Status.REJECTED:
                parts[-1] += _reject_reasons(requests)
    return ", ".join(parts)


def _outcome(request: CancelRequest) -> str:
    return REOPENED if request.reopened_at else request.status


def _reject_reasons(requests: Sequence[CancelRequest]) -> str:
    rejections = [
        request
        for request in requests
        if request.status == Status.REJECTED and not request.is_refused_while_flat
    ]
    counts = Counter(request.reject_reason for request in rejections if request.reject_reason)
    if len(counts) <= 1:
        return "".join(f": {reason}" for reason in counts)
    return ": " + " and ".join(f"{reason} ({count})" for reason, count in counts.most_common())


def _timeline_at(row: Attempt | Alarm) -> datetime:
    """Return where a row belongs in the timeline; a dead process's start is not known."""
    if isinstance(row, Alarm):
        return row.raised_at
    return row.started_at or row.finished_at
