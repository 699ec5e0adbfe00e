"""What the pages of a batch and of the list of requests show, read from the rows."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from killswitch.accounts.models import User
from killswitch.cancels.confirmation import MAX_EXCHANGES, REASONS, Target
from killswitch.cancels.models import Batch, CancelRequest
from killswitch.cancels.states import Status
from killswitch.exchanges.models import Exchange, UncoveredExchange

PAGE_SIZE = 50
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
        requests = sorted_requests(batch.requests.select_related("configured_exchange"))
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

    @property
    def bad_count(self) -> str:
        """Return e.g. "8 of 60 not confirmed so far, 3 still running"; empty while none is bad."""
        bad = sum(request.needs_attention for request in self.requests)
        running = sum(not request.is_final for request in self.requests)
        if not bad:
            return ""
        count = f"{bad} of {len(self.requests)} not confirmed"
        return f"{count} so far, {running} still running" if running else count


@dataclass(frozen=True, kw_only=True)
class ListPage:
    """Some requests, newest first, and where this page and the next one begin."""

    begins: int | None
    requests: Sequence[CancelRequest]
    older: int | None
    exchange: Exchange | None = None

    @classmethod
    def before(cls, pk: int | None, *, exchange: Exchange | None = None) -> Self:
        """Read the page of the requests older than this one, or the newest page.

        With an exchange, only its requests are listed.
        """
        rows = CancelRequest.objects.select_related("batch", "configured_exchange").order_by("-id")
        if exchange is not None:
            rows = rows.filter(configured_exchange=exchange)
        if pk is not None:
            rows = rows.filter(pk__lt=pk)
        requests = list(rows[: PAGE_SIZE + 1])
        has_more = len(requests) > PAGE_SIZE
        requests = requests[:PAGE_SIZE]
        older = requests[-1].pk if has_more else None
        return cls(begins=pk, requests=requests, older=older, exchange=exchange)

    @property
    def name(self) -> str:
        """Return under which name the poller asks for the changes of this page."""
        begins = "newest" if self.begins is None else str(self.begins)
        return f"{begins}:{self.exchange.pk}" if self.exchange else begins


def sorted_requests(requests: Iterable[CancelRequest]) -> list[CancelRequest]:
    """Return the requests of a batch, the worst outcomes first, then as on the console."""
    return sorted(
        requests,
        key=lambda row: (SEVERITY.index(_outcome(row)), row.configured_exchange.position, row.pk),
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
