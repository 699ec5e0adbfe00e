"""The outcome of a request, read from its events alone, under the names of the list of requests.

`cancels.request_outcomes.outcome_name` reads it from the row; a test compares the two.
"""

from collections.abc import Mapping
from functools import reduce
from operator import or_
from typing import Final

from django.db.models import Case, Q, TextField, Value, When
from django.db.models.functions import StrIndex
from django.db.models.lookups import GreaterThan

from killswitch.audit.event_reader import parse
from killswitch.audit.filter_fields import NOT_CONFIRMED_STATUSES
from killswitch.audit.models import EventKind
from killswitch.audit.needing_review import CALM_REFUSAL
from killswitch.audit.not_confirmed import REOPENED_ALARM
from killswitch.cancels.conclusion import CALM_REFUSAL as CALM_CONCLUSION
from killswitch.cancels.conclusion import NEVER_LISTED_TEXTS

OPEN: Final = "OPEN"  # no outcome in the log yet
REOPENED: Final = "REOPENED"  # CONFIRMED, and the alarm of this kind was raised for the request
NEVER_LISTED: Final = "NEVER_LISTED"  # CONFIRMED on an ID that the EMS had never listed
REFUSED: Final = "REFUSED"  # REJECTED without open orders
# Best first, as in a bar from the bottom up.
OUTCOMES: Final = (
    "CONFIRMED",
    NEVER_LISTED,
    REFUSED,
    REOPENED,
    "RESIDUAL",
    "UNVERIFIED",
    "REJECTED",
    "NOT_DELIVERED",
    "UNKNOWN",
    OPEN,
)
NOT_CONFIRMED: Final = frozenset({REOPENED, *NOT_CONFIRMED_STATUSES})
# The outcomes as the list of requests names them in its address.
REQUEST_OUTCOMES: Final[Mapping[str, str]] = {
    outcome: "in_progress" if outcome == OPEN else outcome.lower() for outcome in OUTCOMES
}


def has_text(text: str) -> Q:
    """Return the condition that an event's data contains a text; cheaper than LIKE in SQLite."""
    return Q(GreaterThan(StrIndex("data", Value(text)), 0))


# The data of those events that may change the outcome: that of others may be long. Kind and status
# come first in each condition, so that no other data is searched.
_IS_UNUSUAL_END: Final = Q(kind=EventKind.FINISHED) & (
    (Q(status="REJECTED") & has_text(CALM_REFUSAL))
    | (Q(status="CONFIRMED") & reduce(or_, map(has_text, NEVER_LISTED_TEXTS)))
)
_IS_REOPENING: Final = Q(kind=EventKind.ALARM_RAISED) & has_text(REOPENED_ALARM)
OUTCOME_DATA: Final = Case(
    When(_IS_UNUSUAL_END | _IS_REOPENING, then="data"),
    default=Value(""),
    output_field=TextField(),
)


def outcome_at_end(*, status: str, data: str) -> str:
    """Return the outcome as the event of a request's end tells it."""
    conclusion = parse(data).get("conclusion") if data else ""
    if isinstance(conclusion, str):
        if status == "REJECTED" and conclusion.startswith(CALM_CONCLUSION):
            return REFUSED
        if status == "CONFIRMED" and any(text in conclusion for text in NEVER_LISTED_TEXTS):
            return NEVER_LISTED
    return status if status in OUTCOMES else "UNKNOWN"


def is_reopening(*, kind: str, data: str) -> bool:
    """Return whether an event is the alarm that orders of a confirmed request are open again."""
    return kind == EventKind.ALARM_RAISED and parse(data).get("alarm_kind") == REOPENED
