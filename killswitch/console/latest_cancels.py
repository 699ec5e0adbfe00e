"""The newest cancels of the console: a batch is one item, and so are all episodes of a Hold."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

from django.db.models import Count, Max, OuterRef, Q, QuerySet, Subquery
from django.urls import reverse
from django.utils.safestring import SafeString

from killswitch.cancels.models import Batch, CancelRequest, Origin
from killswitch.cancels.outcome_line import requester
from killswitch.cancels.request_outcomes import CALM, NEVER_LISTED
from killswitch.cancels.states import IN_FLIGHT, Status
from killswitch.cancels.status_display import NEVER_LISTED_BADGE, status_badge
from killswitch.cancels.templatetags.cancels import hold_name
from killswitch.console.attention import Mark
from killswitch.holds.models import Episode, Hold
from killswitch.runtime.cached_markup import rendered
from killswitch.runtime.compiled_query import CompiledQuery
from killswitch.runtime.templatetags.text import escape_controls, time_short
from killswitch.runtime.text import pluralize_count

MAX_ITEMS = 8
# What items with equal marks do not have in common.
OWN = (
    *("pk", "address", "request_uuid", "target", "mark.words", "asked_at", "hold_cancels"),
    *("requester", "reason"),
)
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


class LatestItem(NamedTuple):
    """The values of `console/_latest_item.html`."""

    pk: str
    address: str
    request_uuid: str  # "" of a batch
    status: str
    target: str
    mark: Mark
    asked_at: str
    hold_cancels: str  # "" without a Hold
    requester: str
    is_by_break_glass: bool
    reason: str


@dataclass(frozen=True, kw_only=True)
class LatestCancel:
    """One item: a batch with its counts, or the single request that its mark is of."""

    batch: Batch
    counts: BatchCounts | None = None
    request: CancelRequest | None = None  # the only one, or the newest of a Hold
    hold: Hold | None = None

    @property
    def markup(self) -> SafeString:
        """Return the item as the page shows it."""
        batch, request, hold = self.batch, self.request, self.hold
        if request:
            address, target = reverse("request", args=[request.uuid]), request.exchange_id
            badge = status_badge(request)
            mark = Mark(badge.icon, badge.tone, badge.words)
        else:
            address, target = reverse("batch", args=[batch.uuid]), self._target
            mark = self.counts.mark if self.counts else Mark("", "", "")
        item = LatestItem(
            pk=str(batch.pk),
            address=address,
            request_uuid=str(request.uuid) if request else "",
            status=request.status if request else "",
            target=escape_controls(target),
            mark=mark._replace(words=escape_controls(mark.words)),
            asked_at=time_short(batch.asked_at),
            hold_cancels=pluralize_count(hold.episode_count, "cancel") if hold else "",
            requester=requester(batch),
            is_by_break_glass=batch.origin == Origin.BREAK_GLASS,
            reason=escape_controls(_reason(batch)),
        )
        return rendered("console/_latest_item.html", item, own=OWN)

    @property
    def _target(self) -> str:
        """Return on which exchanges, e.g. "All 60 exchanges"."""
        total = self.counts.total if self.counts else 0
        if self.batch.everywhere:
            return f"All {pluralize_count(total, 'exchange')}"
        if self.batch.group_name:
            return f"{self.batch.group_name}: {pluralize_count(total, 'exchange')}"
        return pluralize_count(total, "exchange")


def _reason(batch: Batch) -> str:
    """Return what `cancels/_reason.html` says of a batch."""
    if batch.completed_reason:
        return batch.completed_reason
    if batch.origin == Origin.HOLD:
        return f"under {hold_name(batch)}"
    return batch.reason or "no reason given"


def latest_cancels() -> list[LatestCancel]:
    """Return the newest items, in four queries no matter how many cancels there were."""
    batches = {batch.pk: batch for batch in _batches_of_persons.objects()}
    counts = {row[0]: row[1:] for row in _counts.rows(*_filled(batches, MAX_ITEMS))}
    holds = {hold.newest_request: hold for hold in _holds.objects()}
    singles = [newest for newest, total, *_ in counts.values() if total == 1]
    pks = _filled([*singles, *holds], 2 * MAX_ITEMS)
    requests = {request.pk: request for request in _requests.objects(*pks)}
    items = [
        LatestCancel(
            batch=batches[pk],
            counts=BatchCounts(
                total=total,
                confirmed=confirmed,
                calm=calm,
                never_listed=never_listed,
                running=running,
            ),
            request=requests.get(newest) if total == 1 else None,
        )
        for pk, (newest, total, confirmed, calm, never_listed, running) in counts.items()
    ]
    items += [
        LatestCancel(batch=requests[pk].batch, request=requests[pk], hold=hold)
        for pk, hold in holds.items()
        if pk in requests
    ]
    return sorted(items, key=lambda item: item.batch.pk, reverse=True)[:MAX_ITEMS]


def _filled(pks: Collection[int], count: int) -> list[int]:
    """Return so many keys: a compiled query always compares the same number of them."""
    return [*pks, *[0] * (count - len(pks))]


def _recent_batches() -> QuerySet[Batch]:
    newest_id = Subquery(Batch.objects.order_by("-id").values("id")[:1])
    recent = Batch.objects.filter(id__gt=newest_id - MAX_BATCHES_BACK)
    return recent.exclude(origin=Origin.HOLD).order_by("-id")[:MAX_ITEMS]


def _counts_of(*batches: int) -> QuerySet[CancelRequest, tuple[int, ...]]:
    is_confirmed = Q(status=Status.CONFIRMED, reopened_at=None)
    return (
        CancelRequest.objects.filter(batch__in=batches)
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
        .values_list("batch", "newest", "total", "confirmed", "calm", "never_listed", "running")
    )


def _holds_with_cancels() -> QuerySet[Hold]:
    episodes = Episode.objects.filter(hold=OuterRef("pk")).order_by("-id")
    holds = Hold.objects.filter(episode_count__gt=0).annotate(
        newest_request=Subquery(episodes.values("request")[:1])
    )
    return holds.exclude(newest_request=None).order_by("-newest_request")[:MAX_ITEMS]


_batches_of_persons = CompiledQuery(_recent_batches)
_counts = CompiledQuery(_counts_of, parameters=MAX_ITEMS)
_holds = CompiledQuery(_holds_with_cancels)
_requests = CompiledQuery(
    lambda *pks: CancelRequest.objects.filter(pk__in=pks).order_by().select_related("batch"),
    parameters=2 * MAX_ITEMS,
)
