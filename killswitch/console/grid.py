"""The rows of the console: each exchange with its open orders and its last outcome."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from django.db.models import Exists, OuterRef, Q, Subquery

from killswitch.cancels.models import CancelRequest
from killswitch.cancels.states import Status
from killswitch.cancels.view_models import is_bad
from killswitch.exchanges.models import Exchange, Observation, UncoveredExchange

FEED = 8  # latest requests beside the grid


@dataclass(frozen=True, kw_only=True)
class Row:
    """One exchange, the newest request for it, and whether any request is still in flight."""

    exchange: Exchange
    last: CancelRequest | None
    in_flight: bool
    newest_look: datetime | None

    @property
    def needs_attention(self) -> bool:
        return self.last is not None and is_bad(self.last)

    @property
    def is_in_newest_look(self) -> bool:
        """Whether the newest look at the EMS covers this row, so that its age is the look's."""
        return self.newest_look is not None and self.exchange.seen_at == self.newest_look

    @property
    def appeared_since(self) -> bool:
        """Orders are open again after a list without any: new ones, or restored by the venue."""
        last, seen_at = self.last, self.exchange.seen_at
        if last is None or last.status != Status.CONFIRMED or not self.exchange.open_orders:
            return False
        return bool(seen_at and last.open_after_read_at and seen_at > last.open_after_read_at)

    @property
    def order(self) -> tuple[bool, bool]:
        """Rows that need attention first, then what is in flight, then as configured."""
        return (not self.needs_attention, not self.in_flight)


@dataclass(frozen=True, kw_only=True)
class Totals:
    """The panel around the kill for all: one figure, its age, and what it does not reach."""

    exchanges: int
    open_orders: int | None
    is_partial: bool
    seen_at: datetime | None
    error: str
    uncovered: Sequence[UncoveredExchange]
    newest_look: datetime | None

    @classmethod
    def of(cls, exchanges: Sequence[Exchange], *, observation: Observation | None) -> Self:
        counts = [each.open_orders for each in exchanges if each.open_orders is not None]
        times = [each.seen_at for each in exchanges if each.seen_at]
        return cls(
            exchanges=len(exchanges),
            open_orders=sum(counts) if counts else None,
            is_partial=len(counts) < len(exchanges),
            seen_at=min(times) if times else None,
            error=observation.error if observation else "",
            uncovered=list(UncoveredExchange.objects.all()),
            newest_look=observation.seen_at if observation else None,
        )

    @property
    def is_in_newest_look(self) -> bool:
        """Whether the sum is as old as the newest look, and not older."""
        return self.seen_at is not None and self.seen_at == self.newest_look


def rows(*, changed_since: int | None = None, newest_look: datetime | None) -> list[Row]:
    """Every enabled exchange, in two queries; or only those with something new."""
    newest = (
        CancelRequest.objects.filter(configured_exchange=OuterRef("pk"))
        .order_by("-id")
        .values("id")[:1]
    )
    flying = CancelRequest.objects.in_flight().filter(configured_exchange=OuterRef("pk"))
    exchanges = Exchange.objects.enabled()
    if changed_since is not None:
        asked = CancelRequest.objects.filter(revision__gt=changed_since).values(
            "configured_exchange"
        )
        exchanges = exchanges.filter(Q(revision__gt=changed_since) | Q(pk__in=asked))
    found = list(exchanges.annotate(newest_id=Subquery(newest), flying=Exists(flying)))
    newest_ids = [vars(each)["newest_id"] for each in found]
    last = CancelRequest.objects.select_related("batch").in_bulk([pk for pk in newest_ids if pk])
    made = [
        Row(
            exchange=each,
            last=last.get(newest_id),
            in_flight=vars(each)["flying"],
            newest_look=newest_look,
        )
        for each, newest_id in zip(found, newest_ids, strict=True)
    ]
    return sorted(made, key=lambda row: row.order)


def latest() -> list[CancelRequest]:
    """The newest requests, whatever became of them."""
    return list(CancelRequest.objects.select_related("batch").order_by("-id")[:FEED])
