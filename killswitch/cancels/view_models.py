"""What the page of a batch shows, read from the rows."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from django.db.models import QuerySet
from django.utils.safestring import SafeString

from killswitch.accounts.models import User
from killswitch.cancels.confirmation import REASONS, Target
from killswitch.cancels.exclusions import Exclusions
from killswitch.cancels.models import Batch, CancelRequest
from killswitch.cancels.request_item import RequestItems
from killswitch.cancels.retry import RetryOffer
from killswitch.cancels.states import Status
from killswitch.cancels.status_help import advised
from killswitch.exchanges.models import Exchange

# Not statuses: CONFIRMED, and orders were open again soon after; CONFIRMED, and never listed.
REOPENED, NEVER_LISTED = "REOPENED", "NEVER_LISTED"

# What needs a person most comes first.
SEVERITY = (
    Status.RESIDUAL,
    REOPENED,
    Status.REJECTED,
    Status.NOT_DELIVERED,
    Status.UNKNOWN,
    Status.UNVERIFIED,
    NEVER_LISTED,
    Status.REQUESTED,
    Status.SENDING,
    Status.VERIFYING,
    Status.CONFIRMED,
)
SUMMARY_LABELS: dict[str, str] = {
    REOPENED: "with orders open again",
    Status.RESIDUAL: "with orders still open",
    Status.REJECTED: "rejected",
    Status.NOT_DELIVERED: "not delivered",
    Status.UNKNOWN: "with unknown outcome",
    Status.UNVERIFIED: "accepted but not verified",
    NEVER_LISTED: "never listed by the EMS",
    Status.REQUESTED: "not sent yet",
    Status.SENDING: "sending",
    Status.VERIFYING: "checking",
}


@dataclass(frozen=True, kw_only=True)
class BatchPage:
    """One batch and all its requests, the worst outcomes first."""

    batch: Batch
    requests: Sequence[CancelRequest]
    offer: RetryOffer
    exclusions: Exclusions | None  # None if they were not recorded
    may_complete: bool

    reasons = REASONS

    @classmethod
    def of(cls, batch: Batch, *, user: User) -> Self:
        """Read the page of a batch as this person sees it."""
        requests = sorted_requests(batch.requests.select_related("configured_exchange"))
        for request in requests:
            request.batch = batch
        return cls(
            batch=batch,
            requests=requests,
            offer=RetryOffer.of(batch, requests, user=user),
            exclusions=Exclusions.of(batch.not_included),
            may_complete=may_complete(batch, user=user),
        )

    @cached_property
    def advised(self) -> set[int]:
        """Return the keys of the requests that say what to do now."""
        return advised(self.requests)

    @property
    def items(self) -> list[SafeString]:
        """Return the markup of the requests."""
        items = RequestItems(advised=self.advised)
        return [items.markup(request) for request in self.requests]

    @property
    def retry(self) -> Target | None:
        return self.offer.target

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


def has_followers(requests: QuerySet[CancelRequest], *, since: int) -> bool:
    """Return whether anything has changed on the exchanges of these requests since a revision.

    A later cancel ends what can be retried, and a newer figure may show new orders.
    """
    pks = requests.values("configured_exchange")
    later = CancelRequest.objects.filter(configured_exchange__in=pks, revision__gt=since)
    return later.exists() or Exchange.objects.filter(pk__in=pks, revision__gt=since).exists()


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
        parts.append(f"{flat} rejected, none open")
    for outcome in SEVERITY[:-1]:
        if counts[outcome]:
            parts.append(f"{counts[outcome]} {SUMMARY_LABELS[outcome]}")
            if outcome == Status.REJECTED:
                parts[-1] += _reject_reasons(requests)
    return ", ".join(parts)


def _outcome(request: CancelRequest) -> str:
    if request.reopened_at:
        return REOPENED
    return NEVER_LISTED if request.is_never_listed else request.status


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
