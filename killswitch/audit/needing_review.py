"""Which events need a review: the one definition, as a condition of the database and of an event.

An index of the log holds the events that fulfil it, so a change of it needs a migration.
"""

from collections.abc import Sequence
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Any, Final

from django.db.models import BooleanField, Case, Q, Value, When

from killswitch.audit.event_kinds import CHANGE_KINDS, EventKind

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.models.sql.compiler import SQLCompiler

    from killswitch.audit.models import AuditEvent

NEEDING: Final = frozenset(
    {
        *CHANGE_KINDS,
        EventKind.REQUESTED,
        EventKind.FINISHED,
        EventKind.REASON_COMPLETED,
        EventKind.HOLD_STARTED,
        EventKind.HOLD_BLIND,
        EventKind.HOLD_RELEASE_REQUESTED,
        EventKind.HOLD_RELEASE_WITHDRAWN,
        EventKind.HOLD_RELEASE_LAPSED,
        EventKind.HOLD_RELEASED,
        EventKind.DENIED,
        EventKind.SECOND_FACTOR_ADDED,
        EventKind.SECOND_FACTOR_REMOVED,
        EventKind.RECOVERY_CODES_RENEWED,
        EventKind.RECOVERY_CODE_USED,
        EventKind.GUARDS_PUT_BACK,
        EventKind.EXPORTED,
        EventKind.REQUESTS_EXPORTED,
    }
)
# Parts of the canonical text of an event's data, in which every quote inside a value is escaped.
# The request was made by a Hold and not by a person.
OF_HOLD: Final = '"origin":"HOLD"'
# The end of a request that was refused and found no open orders (`cancels.models.CALM_REFUSAL`).
CALM_REFUSAL: Final = '"conclusion":"Refused by the EMS. No open orders.'
# Another event that needs a review says the same as these alarms.
REPEATED_ALARMS: Final = ('"alarm_kind":"HOLD_BLIND"', '"alarm_kind":"HOLD_REMINDER"')
# No other event of their request that needs a review says the same.
LATER_ALARMS: Final = ('"alarm_kind":"HOLD_TRADING"', '"alarm_kind":"REOPENED"')
# By the person whose account the alarm reports.
OWN_ACKNOWLEDGEMENT: Final = '"by_person_concerned":true'
# The first time that an alarm was overdue; later ones say no more.
FIRST_OVERDUE: Final = '"first":true'


def _contains_one_of(texts: Sequence[str]) -> Q:
    return reduce(or_, (Q(data__contains=text) for text in texts))


def _condition() -> Q:
    """Return the condition for events that need a review.

    A Hold cancels by itself, perhaps thousands of times: its own events are reviewed, and the ends
    of its requests that left orders open, or perhaps open. An alarm about a request needs no review
    of its own, unless it says what the request's events do not, or was not acknowledged in time.
    """
    calm = Q(status="CONFIRMED") | Q(status="REJECTED", data__contains=CALM_REFUSAL)
    routine = Q(kind=str(EventKind.REQUESTED)) | (Q(kind=str(EventKind.FINISHED)) & calm)
    alarms = Q(kind=str(EventKind.ALARM_RAISED)) & (
        (Q(request_id="") & ~_contains_one_of(REPEATED_ALARMS)) | _contains_one_of(LATER_ALARMS)
    )
    unanswered = Q(kind=str(EventKind.ALARM_OVERDUE), data__contains=FIRST_OVERDUE)
    own = Q(kind=str(EventKind.ALARM_ACKNOWLEDGED), data__contains=OWN_ACKNOWLEDGEMENT)
    own_events = Q(kind__in=sorted(map(str, NEEDING))) & ~(routine & Q(data__contains=OF_HOLD))
    return own_events | alarms | unanswered | own


# A CASE, because SQLite searches the kinds of a condition one by one and not this index.
NEEDS_REVIEW: Final = Case(
    When(_condition(), then=Value(True)), default=Value(False), output_field=BooleanField()
)


class _WithoutParameters(Case):
    """A CASE with its values in the text of the query, as a partial index needs them to be used."""

    def as_sql(
        self,
        compiler: "SQLCompiler",
        connection: "BaseDatabaseWrapper",
        template: str | None = None,
        case_joiner: str | None = None,
        **extra_context: Any,
    ) -> tuple[str, tuple[str | int, ...]]:
        sql, params = super().as_sql(
            compiler, connection, template=template, case_joiner=case_joiner, **extra_context
        )
        return sql % tuple(_quoted(value, vendor=connection.vendor) for value in params), ()


def _quoted(value: str | int, *, vendor: str) -> str:
    """Return the literal of a text or a truth value above."""
    if isinstance(value, str):
        text = value.replace("'", "''").replace("%", "%%")
        return f"'{text}'"
    return str(int(value)) if vendor == "sqlite" else str(bool(value)).lower()


def needing() -> Q:
    """Return the condition for events that need a review, which an index of the log finds."""
    cases, default = NEEDS_REVIEW.cases, NEEDS_REVIEW.default
    return Q(_WithoutParameters(*cases, default=default, output_field=BooleanField()))


def needs_review(event: "AuditEvent") -> bool:
    """Return whether this event fulfils `needing`."""
    if event.kind == EventKind.ALARM_RAISED:
        is_repeated = any(text in event.data for text in REPEATED_ALARMS)
        is_later = any(text in event.data for text in LATER_ALARMS)
        return is_later or not (event.request_id or is_repeated)
    if event.kind == EventKind.ALARM_OVERDUE:
        return FIRST_OVERDUE in event.data
    if event.kind == EventKind.ALARM_ACKNOWLEDGED:
        return OWN_ACKNOWLEDGEMENT in event.data
    is_calm = event.status == "CONFIRMED" or (
        event.status == "REJECTED" and CALM_REFUSAL in event.data
    )
    is_routine = event.kind == EventKind.REQUESTED or (event.kind == EventKind.FINISHED and is_calm)
    return event.kind in NEEDING and not (is_routine and OF_HOLD in event.data)
