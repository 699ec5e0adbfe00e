"""What the pages of a press and of a request show: read from the rows, nothing decided here."""

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
from killswitch.exchanges.models import UncoveredExchange

PAGE_SIZE = 50  # requests in one page of the list

# Worst first: what a person has to look at stands on top.
SEVERITY = (
    Status.RESIDUAL,
    Status.REJECTED,
    Status.NOT_DELIVERED,
    Status.UNKNOWN,
    Status.UNVERIFIED,
    Status.REQUESTED,
    Status.SENDING,
    Status.VERIFYING,
    Status.CONFIRMED,
)
SUMMARY_LABELS = {
    Status.RESIDUAL: "with orders left",
    Status.REJECTED: "rejected",
    Status.NOT_DELIVERED: "not delivered",
    Status.UNKNOWN: "unknown",
    Status.UNVERIFIED: "acknowledged but not verified",
    Status.REQUESTED: "not sent yet",
    Status.SENDING: "being asked",
    Status.VERIFYING: "being read back",
}


@dataclass(frozen=True, kw_only=True)
class BatchPage:
    """One press and all its requests, bad ones first."""

    batch: Batch
    requests: Sequence[CancelRequest]
    again: Target | None
    again_key: str
    may_complete: bool
    uncovered: Sequence[UncoveredExchange]

    reasons = REASONS

    @classmethod
    def of(cls, batch: Batch, *, user: User) -> Self:
        requests = sorted(
            batch.requests.select_related("configured_exchange"),
            key=lambda each: (
                SEVERITY.index(Status(each.status)),
                each.configured_exchange.position,
                each.pk,
            ),
        )
        for each in requests:
            each.batch = batch
        bad = tuple(
            each.configured_exchange
            for each in requests
            if is_bad(each) and each.configured_exchange.enabled
        )
        again = Target(exchanges=bad[:MAX_EXCHANGES]) if bad else None
        return cls(
            batch=batch,
            requests=requests,
            again=again,
            again_key=again.key(user_id=user.pk) if again else "",
            may_complete=may_complete(batch, user=user),
            uncovered=list(UncoveredExchange.objects.all()) if batch.everywhere else (),
        )

    @property
    def in_flight(self) -> bool:
        return any(not each.is_final for each in self.requests)

    @property
    def summary(self) -> str:
        """E.g. "47 of 50 confirmed, 2 with orders left, 1 rejected: EXCHANGE_UNREACHABLE"."""
        return summary(self.requests)


@dataclass(frozen=True, kw_only=True)
class RequestPage:
    """One request with everything that is known of it."""

    request: CancelRequest
    meanwhile: Sequence[Attempt | Alarm]
    orders: Sequence[ResidualOrder]
    afterwards: Sequence[Alarm]
    may_complete: bool

    reasons = REASONS

    @classmethod
    def of(cls, request: CancelRequest, *, user: User) -> Self:
        alarms = list(Alarm.objects.filter(request_id=str(request.uuid)).order_by("raised_at"))
        ended = request.finished_at
        afterwards = [each for each in alarms if ended and each.raised_at >= ended]
        before = [each for each in alarms if each not in afterwards]
        return cls(
            request=request,
            meanwhile=sorted([*request.attempts.all(), *before], key=_began),
            orders=list(request.residual_orders.all()),
            afterwards=afterwards,
            may_complete=may_complete(request.batch, user=user),
        )


@dataclass(frozen=True, kw_only=True)
class ListPage:
    """Some requests, newest first, and where this page and the next one begin."""

    begins: int | None
    requests: Sequence[CancelRequest]
    older: int | None

    @classmethod
    def before(cls, pk: int | None) -> Self:
        rows = CancelRequest.objects.select_related("batch", "configured_exchange").order_by("-id")
        if pk is not None:
            rows = rows.filter(pk__lt=pk)
        found = list(rows[: PAGE_SIZE + 1])
        more = len(found) > PAGE_SIZE
        return cls(
            begins=pk, requests=found[:PAGE_SIZE], older=found[PAGE_SIZE - 1].pk if more else None
        )


def _began(each: Attempt | Alarm) -> datetime:
    """When it stands in the timeline; when a dead process began is not known."""
    if isinstance(each, Alarm):
        return each.raised_at
    return each.started_at or each.finished_at


def is_bad(request: CancelRequest) -> bool:
    """Over, and not confirmed."""
    return request.is_final and request.status != Status.CONFIRMED


def may_complete(batch: Batch, *, user: User) -> bool:
    """The person who pressed may say why, once."""
    return batch.by_id == user.pk and batch.completed_at is None


def summary(requests: Sequence[CancelRequest]) -> str:
    """One sentence for a press: how many confirmed, and what became of the others."""
    counts = Counter(Status(each.status) for each in requests)
    parts = [f"{counts[Status.CONFIRMED]} of {len(requests)} confirmed"]
    for status in SEVERITY[:-1]:
        if counts[status]:
            parts.append(f"{counts[status]} {SUMMARY_LABELS[status]}")
            if status is Status.REJECTED:
                parts[-1] += _reject_reasons(requests)
    return ", ".join(parts)


def _reject_reasons(requests: Sequence[CancelRequest]) -> str:
    rejected = [each for each in requests if each.status == Status.REJECTED]
    reasons = Counter(each.reject_reason for each in rejected if each.reject_reason)
    if not reasons:
        return ""
    if len(reasons) == 1:
        return f": {next(iter(reasons))}"
    return ": " + " and ".join(f"{reason} ({count})" for reason, count in reasons.most_common())
