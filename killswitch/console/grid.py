"""The rows of the console: each exchange with its open orders and its newest request."""

from collections.abc import Container, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Exists, OuterRef, Q, Subquery

from killswitch.alarms.models import Alarm, AlarmKind
from killswitch.cancels.models import CancelRequest
from killswitch.cancels.states import Status
from killswitch.cancels.status_display import status_badge
from killswitch.exchanges.models import Exchange, Observation, UncoveredExchange
from killswitch.holds.models import Hold
from killswitch.holds.view_models import HoldView, active_holds

MAX_LATEST = 8


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

    @property
    def needs_attention(self) -> bool:
        is_bad = self.last is not None and self.last.needs_attention
        return self.is_blind or self.is_stuck or is_bad

    @property
    def tone(self) -> str:
        if self.is_blind or self.is_stuck:
            return "bad"
        return status_badge(self.last).tone if self.last else ""

    @property
    def is_newest(self) -> bool:
        """Whether the figure is of the newest observation, so that both have one age."""
        return self.observed_at is not None and self.exchange.seen_at == self.observed_at

    @property
    def has_new_orders(self) -> bool:
        """Whether orders are open after a confirmed cancel: new, or restored by the venue.

        By revisions, because the figure and the outcome are timed by the clocks of two hosts.
        """
        last = self.last
        if last is None or last.status != Status.CONFIRMED or not self.exchange.open_orders:
            return False
        ended_at_revision = last.finished_revision or last.revision
        return self.exchange.revision > ended_at_revision


class Totals:
    """The panel with the button for all exchanges: one figure, its age, and what it excludes."""

    def __init__(
        self,
        exchanges: Sequence[Exchange],
        *,
        observation: Observation | None,
        held: Container[str] = (),
    ) -> None:
        counts = [row.open_orders for row in exchanges if row.open_orders is not None]
        self.exchanges = len(exchanges)
        self.open_orders = sum(counts) if counts else None
        self.is_partial = len(counts) < len(exchanges)
        self.seen_at = min((row.seen_at for row in exchanges if row.seen_at), default=None)
        self.error = observation.error if observation else ""
        self.uncovered = list(UncoveredExchange.objects.all())
        # A disabled exchange that is held has a row of its own: the Hold cancels there.
        self.without_row = [row for row in self.uncovered if row.exchange_id not in held]
        self.observed_at = observation.seen_at if observation else None
        # Every figure in the sum is of the newest observation.
        self.is_newest = self.seen_at is not None and self.seen_at == self.observed_at


def rows(*, changed_since: int | None = None, observed_at: datetime | None) -> list[Row]:
    """Return every exchange that is enabled or held, or those with a change, in three queries.

    Rows that need attention come first, then those in flight, then the rest as configured.
    """
    requests = CancelRequest.objects.filter(configured_exchange=OuterRef("pk"))
    stalled = Alarm.objects.unacknowledged().filter(kind=AlarmKind.STALLED)
    holds = active_holds()
    exchanges = Exchange.objects.filter(Q(enabled=True) | Q(pk__in=list(holds))).annotate(
        newest_id=Subquery(requests.order_by("-id").values("id")[:1]),
        in_flight=Exists(requests.in_flight()),
        is_stuck=Exists(stalled.filter(exchange_id=OuterRef("exchange_id"))),
    )
    if changed_since is not None:
        new_requests = CancelRequest.objects.filter(revision__gt=changed_since)
        has_new_request = Q(pk__in=new_requests.values("configured_exchange"))
        # A Hold that was released is among them as well.
        new_holds = Hold.objects.filter(revision__gt=changed_since)
        has_new_hold = Q(pk__in=new_holds.values("configured_exchange"))
        # An alarm that was acknowledged is among them as well.
        new_stalls = Alarm.objects.filter(kind=AlarmKind.STALLED, revision__gt=changed_since)
        has_new_stall = Q(exchange_id__in=new_stalls.values("exchange_id"))
        is_new = Q(revision__gt=changed_since) | has_new_request | has_new_hold | has_new_stall
        exchanges = exchanges.filter(is_new)
    # `vars`, because the type of a model does not know its annotations.
    pairs = [(exchange, vars(exchange)) for exchange in exchanges]
    newest_ids = [values["newest_id"] for _, values in pairs if values["newest_id"]]
    newest = CancelRequest.objects.select_related("batch").in_bulk(newest_ids)
    rows = [
        Row(
            exchange=exchange,
            last=newest.get(values["newest_id"]),
            in_flight=values["in_flight"],
            observed_at=observed_at,
            hold=holds.get(exchange.pk),
            is_stuck=values["is_stuck"],
        )
        for exchange, values in pairs
    ]
    return sorted(rows, key=lambda row: (not row.needs_attention, not row.in_flight))


def latest() -> list[CancelRequest]:
    """Return the newest requests of all exchanges."""
    return list(CancelRequest.objects.select_related("batch").order_by("-id")[:MAX_LATEST])
