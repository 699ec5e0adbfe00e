"""The newest cancels of the console: a batch is one item, and so are all episodes of a Hold."""

from dataclasses import dataclass

from django.db.models import Count, Max, OuterRef, Q, Subquery

from killswitch.cancels.models import Batch, CancelRequest, Origin
from killswitch.cancels.request_outcomes import CALM, NEVER_LISTED
from killswitch.cancels.states import IN_FLIGHT, Status
from killswitch.cancels.status_display import NEVER_LISTED_BADGE
from killswitch.console.attention import Mark
from killswitch.holds.models import Episode, Hold
from killswitch.runtime.text import pluralize_count

MAX_ITEMS = 8
# Holds may record thousands of batches, which are passed over one by one.
MAX_BATCHES_BACK = 20_000


@dataclass(frozen=True, kw_only=True)
class BatchCounts:
    """How many requests of a batch ended how."""

    total: int
    confirmed: int
    calm: int
    never_listed: int
    running: int

    @property
    def not_confirmed(self) -> int:
        return self.total - self.confirmed - self.calm - self.never_listed - self.running

    @property
    def mark(self) -> Mark:
        """Return e.g. "52 confirmed, 8 not"; in doubt the worse mark."""
        parts = [f"{self.confirmed} confirmed"]
        if self.not_confirmed:
            parts.append(f"{self.not_confirmed} not")
        if self.calm:
            parts.append(f"{self.calm} rejected, none open")
        if self.never_listed:
            parts.append(f"{self.never_listed} never listed by the EMS")
        if self.running:
            parts.append(f"{self.running} running")
        words = ", ".join(parts)
        if self.not_confirmed:
            return Mark("left", "bad", words)
        if self.running:
            return Mark("arrow", "busy", words)
        return Mark(*NEVER_LISTED_BADGE, words) if self.never_listed else Mark("ok", "good", words)


@dataclass(frozen=True, kw_only=True)
class LatestCancel:
    """One item: a batch with its counts, or the single request that its mark is of."""

    batch: Batch
    counts: BatchCounts | None = None
    request: CancelRequest | None = None  # the only one, or the newest of a Hold
    hold: Hold | None = None

    @property
    def target(self) -> str:
        """Return on which exchanges, e.g. "All 60 exchanges"."""
        total = self.counts.total if self.counts else 0
        if self.batch.everywhere:
            return f"All {pluralize_count(total, 'exchange')}"
        if self.batch.group_name:
            return f"{self.batch.group_name}: {pluralize_count(total, 'exchange')}"
        return pluralize_count(total, "exchange")


def latest_cancels() -> list[LatestCancel]:
    """Return the newest items, in five queries no matter how many cancels there were."""
    items = [*_of_persons(), *_of_holds()]
    return sorted(items, key=lambda item: item.batch.pk, reverse=True)[:MAX_ITEMS]


def _of_persons() -> list[LatestCancel]:
    newest_id = Batch.objects.aggregate(newest=Max("id"))["newest"] or 0
    recent = Batch.objects.filter(id__gt=newest_id - MAX_BATCHES_BACK).exclude(origin=Origin.HOLD)
    batches = {batch.pk: batch for batch in recent.order_by("-id")[:MAX_ITEMS]}
    is_confirmed = Q(status=Status.CONFIRMED, reopened_at=None)
    rows = (
        CancelRequest.objects.filter(batch__in=list(batches))
        .order_by()
        .values("batch")
        .annotate(
            newest=Max("id"),
            total=Count("id"),
            confirmed=Count("id", filter=is_confirmed & ~NEVER_LISTED),
            calm=Count("id", filter=CALM),
            never_listed=Count("id", filter=is_confirmed & NEVER_LISTED),
            running=Count("id", filter=Q(status__in=sorted(IN_FLIGHT))),
        )
    )
    singles = [row["newest"] for row in rows if row["total"] == 1]
    requests = CancelRequest.objects.select_related("batch").in_bulk(singles)
    return [
        LatestCancel(
            batch=batches[row["batch"]],
            counts=BatchCounts(
                total=row["total"],
                confirmed=row["confirmed"],
                calm=row["calm"],
                never_listed=row["never_listed"],
                running=row["running"],
            ),
            request=requests.get(row["newest"]),
        )
        for row in rows
    ]


def _of_holds() -> list[LatestCancel]:
    episodes = Episode.objects.filter(hold=OuterRef("pk")).order_by("-id")
    holds = Hold.objects.filter(episode_count__gt=0).annotate(
        newest_request=Subquery(episodes.values("request")[:1])
    )
    active = holds.exclude(newest_request=None).order_by("-newest_request")[:MAX_ITEMS]
    newest = {vars(hold)["newest_request"]: hold for hold in active}
    requests = CancelRequest.objects.select_related("batch").in_bulk(list(newest))
    return [
        LatestCancel(batch=request.batch, request=request, hold=newest[request.pk])
        for request in requests.values()
    ]
