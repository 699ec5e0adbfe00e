"""Compares exchanges, groups and the runbook with their events; figures have no events."""

from killswitch.audit.event_reader import read
from killswitch.audit.models import EventKind
from killswitch.audit.reconciliation.comparison import reconcilers
from killswitch.audit.reconciliation.replayed_table import ReplayedTable
from killswitch.exchanges.groups import GROUP_COLUMNS, group_values
from killswitch.exchanges.models import WATCHED, Exchange, ExchangeGroup, Runbook

# Earlier versions did not have these columns, and their events do not name them.
LATER_COLUMNS = ("contact", "emergency_phone", "member_ids", "session_ids", "what_they_ask")
REPLAYED_EXCHANGES = ReplayedTable(
    noun="exchange",
    kinds=(EventKind.EXCHANGE_ADDED, EventKind.EXCHANGE_CHANGED),
    named_by="exchange_id",
    name_in=lambda event: event.exchange_id,
    columns=WATCHED,
    added_empty=LATER_COLUMNS,
    rows=lambda: Exchange.objects.order_by("id").values(*WATCHED),
)
REPLAYED_GROUPS = ReplayedTable(
    noun="group",
    kinds=(EventKind.GROUP_ADDED, EventKind.GROUP_CHANGED),
    removal=EventKind.GROUP_REMOVED,
    named_by="name",
    name_in=lambda event: read(event).text("name"),
    columns=GROUP_COLUMNS,
    rows=lambda: [
        group_values(group)
        for group in ExchangeGroup.objects.order_by("id").prefetch_related("exchanges")
    ],
)
REPLAYED_RUNBOOK = ReplayedTable(
    noun="runbook",
    kinds=(EventKind.RUNBOOK_CHANGED,),
    named_by="id",
    name_in=lambda _event: "1",
    columns=("text",),
    rows=lambda: [
        {"id": str(pk), "text": text} for pk, text in Runbook.objects.values_list("id", "text")
    ],
)
reconcilers += [
    REPLAYED_EXCHANGES.discrepancies,
    REPLAYED_GROUPS.discrepancies,
    REPLAYED_RUNBOOK.discrepancies,
]
