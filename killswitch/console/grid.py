"""The rows of the console: each exchange with its open orders and its newest request."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from functools import cached_property

from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery

from killswitch.alarms.models import Alarm, AlarmKind
from killswitch.cancels.models import CancelRequest, RequestQuerySet
from killswitch.cancels.status_display import orders_since, status_badge
from killswitch.exchanges.models import Exchange, Observation, UncoveredExchange
from killswitch.holds.models import Hold
from killswitch.holds.view_models import HoldView, active_holds
from killswitch.runtime.compiled_query import CompiledQuery

MAX_NAMED_UNCOVERED = 3


class Trouble(IntEnum):
    """How urgently a row needs a person; the most urgent is the first."""

    FAILED = 0
    RUNNING = 1
    NEW_ORDERS = 2
    NONE = 3


@dataclass(frozen=True, kw_only=True)
class Row:
    """One exchange, the newest request for it, and whether any request is in flight."""

    exchange: Exchange
    last: CancelRequest | None
    in_flight: bool
    observed_at: datetime | None
    hold: HoldView | None = None
    is_stuck: bool = False  # and nobody has acknowledged the alarm that says so

    @property
    def is_blind(self) -> bool:
        """Whether the list of a held exchange cannot be read."""
        return self.hold is not None and self.hold.hold.blind_since is not None

    @cached_property
    def is_failed(self) -> bool:
        """Whether the newest cancel, or the Hold, does not do what it is for."""
        is_bad = self.last is not None and self.last.needs_attention
        return is_bad or self.is_stuck or self.is_blind

    @property
    def needs_attention(self) -> bool:
        return self.is_failed or self.has_new_orders

    @property
    def trouble(self) -> Trouble:
        if self.is_failed:
            return Trouble.FAILED
        if self.in_flight:
            return Trouble.RUNNING
        return Trouble.NEW_ORDERS if self.has_new_orders else Trouble.NONE

    @property
    def tone(self) -> str:
        if self.is_blind or self.is_stuck:
            return "bad"
        if self.last is None or (self.has_new_orders and not self.last.needs_attention):
            return "warn" if self.last else ""
        return status_badge(self.last).tone

    @property
    def is_newest(self) -> bool:
        """Whether the figure is of the newest observation, so that both have one age."""
        return self.observed_at is not None and self.exchange.seen_at == self.observed_at

    @property
    def known_orders(self) -> int | None:
        """The open orders, or None: of an ID that the EMS never listed, 0 says nothing."""
        return None if self.exchange.is_never_listed else self.exchange.open_orders

    @cached_property
    def has_new_orders(self) -> bool:
        """Whether more orders are open than the last cancel left: new, or restored by the venue."""
        return self.last is not None and orders_since(self.last, self.exchange) > 0


class Totals:
    """The panel with the button for all exchanges: one figure, its age, and what it excludes."""

    def __init__(self, rows: Sequence[Row], *, observation: Observation | None) -> None:
        exchanges = [row.exchange for row in rows if row.exchange.enabled]
        held = {row.exchange.exchange_id for row in rows if row.hold}
        counts = [row.open_orders for row in exchanges if row.open_orders is not None]
        self.exchanges = len(exchanges)
        self.open_orders = sum(counts) if counts else None
        self.is_partial = len(counts) < len(exchanges)
        self.seen_at = min((row.seen_at for row in exchanges if row.seen_at), default=None)
        self.error = observation.error if observation else ""
        self.uncovered = list(_uncovered.objects())
        self.switched_off = {row.exchange_id for row in self.uncovered if row.is_switched_off}
        self.uncovered_orders = sum(row.open_orders for row in self.uncovered)
        self.names_uncovered = len(self.uncovered) <= MAX_NAMED_UNCOVERED
        # A disabled exchange that is held has a row of its own: the Hold cancels there.
        self.without_row = [row for row in self.uncovered if row.exchange_id not in held]
        self.without_row_orders = sum(row.open_orders for row in self.without_row)
        self.observed_at = observation.seen_at if observation else None
        # Every figure in the sum is of the newest observation.
        self.is_newest = self.seen_at is not None and self.seen_at == self.observed_at


def rows(*, observed_at: datetime | None) -> list[Row]:
    """Return every exchange that is enabled or held, in three queries.

    They are in the order of the configuration; IDs that differ by case only are neighbours.
    """
    holds = active_holds()
    exchanges = list(_exchanges.objects())
    # By their exchange, because one may be newer than what the exchanges were read with.
    newest = {request.configured_exchange_id: request for request in _newest_requests.objects()}
    rows = []
    for exchange in exchanges:
        hold, last = holds.get(exchange.pk), newest.get(exchange.pk)
        if not exchange.enabled and hold is None:  # it was released in between
            continue
        in_flight = exchange.in_flight or (last is not None and not last.is_final)
        rows.append(
            Row(
                exchange=exchange,
                last=last,
                in_flight=in_flight,
                observed_at=observed_at,
                hold=hold,
                is_stuck=in_flight and exchange.is_stuck,
            )
        )
    return sorted(
        rows, key=lambda row: (row.exchange.position, row.exchange.exchange_id.casefold())
    )


def _shown() -> QuerySet[Exchange]:
    held = Hold.objects.active().values("configured_exchange")
    return Exchange.objects.filter(Q(enabled=True) | Q(pk__in=held))


def _requests() -> RequestQuerySet:
    return CancelRequest.objects.filter(configured_exchange=OuterRef("pk"))


_exchanges = CompiledQuery(
    lambda: (
        _shown()
        .annotate(
            in_flight=Exists(_requests().in_flight()),
            is_stuck=Exists(
                Alarm.objects.unacknowledged().filter(
                    kind=AlarmKind.STALLED, exchange_id=OuterRef("exchange_id")
                )
            ),
        )
        .only(
            *("exchange_id", "name", "enabled", "position", "caveat", "revision"),
            *("open_orders", "seen_at", "first_listed_at"),
        )
    )
)
_newest_requests = CompiledQuery(
    lambda: (
        CancelRequest.objects.filter(
            pk__in=_shown()
            .annotate(newest=Subquery(_requests().order_by("-id").values("id")[:1]))
            .values("newest")
        )
        .order_by()
        .select_related("batch")
        .only(
            *(
                "uuid",
                "configured_exchange",
                "exchange_id",
                "status",
                "reject_reason",
                "conclusion",
            ),
            *(
                "open_before",
                "open_after",
                "reads",
                "attempt_count",
                "revision",
                "finished_revision",
            ),
            *(
                "first_claimed_at",
                "next_attempt_at",
                "finished_at",
                "reopened_at",
                "reopened_orders",
            ),
            *("batch__uuid", "batch__by_name", "batch__asked_at", "batch__origin"),
        )
    )
)
_uncovered = CompiledQuery(
    lambda: UncoveredExchange.objects.annotate(
        is_switched_off=Exists(
            Exchange.objects.filter(exchange_id=OuterRef("exchange_id"), enabled=False)
        )
    )
)
