"""Which requests were not confirmed, as the log alone tells it.

That is what `cancels.request_outcomes.NOT_CONFIRMED` selects among the rows: a request that ended
without proof that no orders are open, or was confirmed and had orders open again soon after. A
refusal that found no open orders is not among them.
"""

from typing import Final

from django.db.models import Q, QuerySet

from killswitch.audit.filter_fields import NOT_CONFIRMED_STATUSES
from killswitch.audit.models import AuditEvent, EventKind
from killswitch.audit.needing_review import CALM_REFUSAL
from killswitch.runtime.lookups import compared

# A part of the canonical text of the data of the alarm that orders are open again.
REOPENED_ALARM: Final = '"alarm_kind":"REOPENED"'


def not_confirmed() -> Q:
    """Return the condition for the ends of these requests: one event for each."""
    calm = Q(status="REJECTED", data__contains=CALM_REFUSAL)
    failed = Q(status__in=NOT_CONFIRMED_STATUSES) & ~calm
    reopened = Q(status="CONFIRMED", request_id__in=reopening_alarms().values("request_id"))
    # Each half is found by an index; by the kind, all ends would be.
    return (failed | reopened) & compared(Q(kind=EventKind.FINISHED))


def reopening_alarms() -> QuerySet[AuditEvent]:
    """Return the alarms that orders of a confirmed request were open again."""
    alarms = AuditEvent.objects.filter(kind=EventKind.ALARM_RAISED, data__contains=REOPENED_ALARM)
    return alarms.order_by()


def is_not_confirmed(event: AuditEvent, *, is_reopened: bool) -> bool:
    """Return whether this event fulfils `not_confirmed`; `is_reopened`: there is an alarm of it."""
    if event.kind != EventKind.FINISHED:
        return False
    is_calm = event.status == "REJECTED" and CALM_REFUSAL in event.data
    is_failed = event.status in NOT_CONFIRMED_STATUSES and not is_calm
    return is_failed or (event.status == "CONFIRMED" and is_reopened)
