"""What the page of one exchange shows, read from the rows."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Context, Decimal, DecimalException, Inexact, InvalidOperation, Overflow
from itertools import groupby
from operator import attrgetter
from typing import Self

from django.db.models import Exists, OuterRef, Q

from killswitch.cancels.models import CancelRequest
from killswitch.console.grid import Row
from killswitch.exchanges.models import Exchange, Observation, OpenOrderList
from killswitch.holds.models import Episode, Hold

MAX_REQUESTS = 20
MAX_HOLDS = 10
MAX_EPISODES = 30  # of these Holds together

# As in JSON: `Decimal` also reads 1_000, digits of other scripts, and NaN.
_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,2})?")
_EXACT = Context(prec=100, traps=[InvalidOperation, Overflow, Inexact])


@dataclass(frozen=True, kw_only=True)
class Order:
    """One open order, and when the observer first saw it."""

    symbol: str
    side: str
    price: str
    amount_open: str
    status: str
    client_order_id: str
    exchange_order_id: str
    first_seen_at: datetime


@dataclass(frozen=True, kw_only=True)
class OrderGroup:
    """The open orders of one symbol and side; `amount` is empty if one is not a number."""

    symbol: str
    side: str
    count: int
    amount: str
    oldest_at: datetime


@dataclass(frozen=True, kw_only=True)
class OrdersOfExchange:
    """The orders that the observer has stored, the oldest first, and when it last read them."""

    orders: Sequence[Order]
    groups: Sequence[OrderGroup]
    total: int
    unnamed: int
    read_at: datetime | None

    @classmethod
    def of(cls, exchange: Exchange) -> Self:
        """Read the stored orders. Without a row, none have been open."""
        stored: OpenOrderList | None = getattr(exchange, "order_list", None)
        orders = [
            Order(**row | {"first_seen_at": datetime.fromisoformat(row["first_seen_at"])})
            for row in (stored.orders if stored else [])
        ]
        times = [at for at in (stored and stored.read_at, exchange.orders_read_at) if at]
        return cls(
            orders=orders,
            groups=_groups(orders),
            total=stored.total if stored else 0,
            unnamed=stored.unnamed if stored else 0,
            read_at=max(times, default=None),
        )

    @property
    def not_kept(self) -> int:
        return self.total - len(self.orders)

    @property
    def oldest_at(self) -> datetime | None:
        return self.orders[0].first_seen_at if self.orders else None


@dataclass(frozen=True, kw_only=True)
class HoldWithEpisodes:
    """A Hold, its newest episodes, and how many more it had."""

    hold: Hold
    episodes: Sequence[Episode]

    @property
    def more(self) -> int:
        return self.hold.episode_count - len(self.episodes)


@dataclass(frozen=True, kw_only=True)
class ExchangePage:
    """One exchange: its figure, its open orders, its Hold, and what was done there."""

    row: Row
    error: str  # why the list of all exchanges could not be read
    orders: OrdersOfExchange
    requests: Sequence[CancelRequest]
    more_requests: bool
    hold: Hold | None
    holds: Sequence[HoldWithEpisodes]
    more_holds: int

    @classmethod
    def of(cls, exchange: Exchange, *, observation: Observation | None) -> Self:
        """Read the page of an exchange in five queries at most."""
        requests = list(
            exchange.requests.select_related("batch").order_by("-id")[: MAX_REQUESTS + 1]
        )
        holds = list(exchange.holds.order_by("-id")[: MAX_HOLDS + 1])
        # The active one is the newest: an exchange has one at most.
        hold = holds[0] if holds and holds[0].is_active else None
        return cls(
            row=Row(
                exchange=exchange,
                last=requests[0] if requests else None,
                in_flight=any(not request.is_final for request in requests),
                observed_at=observation.seen_at if observation else None,
            ),
            error=observation.error if observation else "",
            orders=OrdersOfExchange.of(exchange),
            requests=requests[:MAX_REQUESTS],
            more_requests=len(requests) > MAX_REQUESTS,
            hold=hold,
            holds=_with_episodes(holds[:MAX_HOLDS]),
            more_holds=exchange.holds.count() - MAX_HOLDS if len(holds) > MAX_HOLDS else 0,
        )

    @property
    def exchange(self) -> Exchange:
        return self.row.exchange

    @property
    def is_list_older(self) -> bool:
        """Return True if a cancel has read the figure since the orders were read."""
        read_at, seen_at = self.orders.read_at, self.exchange.seen_at
        return read_at is not None and seen_at is not None and read_at < seen_at


def find(pk: int) -> Exchange | None:
    """Return an exchange with its stored orders."""
    return Exchange.objects.select_related("order_list").filter(pk=pk).first()


def has_changed(pk: int, *, since: int) -> bool:
    """Return whether anything that the page shows of an exchange has changed, in one query."""
    requests = CancelRequest.objects.filter(configured_exchange=OuterRef("pk"))
    holds = Hold.objects.filter(configured_exchange=OuterRef("pk"))
    is_new = Q(revision__gt=since)
    return (
        Exchange.objects.filter(pk=pk)
        .filter(
            is_new
            | Q(order_list__revision__gt=since)
            | Exists(requests.filter(is_new))
            | Exists(holds.filter(is_new))
        )
        .exists()
    )


def _groups(orders: Sequence[Order]) -> list[OrderGroup]:
    by_symbol_and_side = attrgetter("symbol", "side")
    groups = []
    for (symbol, side), members in groupby(
        sorted(orders, key=by_symbol_and_side), by_symbol_and_side
    ):
        group = list(members)
        groups.append(
            OrderGroup(
                symbol=symbol,
                side=side,
                count=len(group),
                amount=total_amount([order.amount_open for order in group]),
                oldest_at=min(order.first_seen_at for order in group),
            )
        )
    return groups


def total_amount(amounts: Sequence[str]) -> str:
    """Return the exact sum; empty if an amount is missing, negative or not a number."""
    if not all(map(_NUMBER.fullmatch, amounts)):
        return ""
    total = Decimal(0)
    try:
        for amount in amounts:
            total = _EXACT.add(total, Decimal(amount))
    except DecimalException:  # more digits than any amount has
        return ""
    return f"{total:f}"


def _with_episodes(holds: Sequence[Hold]) -> list[HoldWithEpisodes]:
    episodes = Episode.objects.filter(hold__in=holds).select_related("request").order_by("-id")
    newest = list(episodes[:MAX_EPISODES]) if holds else []
    return [
        HoldWithEpisodes(
            hold=hold, episodes=[episode for episode in newest if episode.hold_id == hold.pk]
        )
        for hold in holds
    ]
