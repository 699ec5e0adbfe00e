"""Compares the exchanges with the events that added and changed them; figures have no events."""

from killswitch.audit.models import EventKind
from killswitch.audit.reconciliation.comparison import reconcilers
from killswitch.audit.reconciliation.replayed_table import ReplayedTable
from killswitch.exchanges.models import WATCHED, Exchange

REPLAYED_EXCHANGES = ReplayedTable(
    noun="exchange",
    kinds=(EventKind.EXCHANGE_ADDED, EventKind.EXCHANGE_CHANGED),
    named_by="exchange_id",
    name_in=lambda event: event.exchange_id,
    columns=WATCHED,
    rows=lambda: Exchange.objects.order_by("id").values(*WATCHED),
)
reconcilers.append(REPLAYED_EXCHANGES.discrepancies)
