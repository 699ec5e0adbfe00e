"""What the filter of the log offers: event types and statuses in groups, days, useful filters."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Final
from urllib.parse import urlencode

from django.http import QueryDict

from killswitch.accounts.models import User
from killswitch.audit.distinct_values import distinct_values
from killswitch.audit.filter_fields import (
    CHANGES,
    CHANGES_LABEL,
    FIELDS,
    NOT_CONFIRMED,
    NOT_CONFIRMED_LABEL,
    NOT_CONFIRMED_STATUSES,
    status_labels,
)
from killswitch.audit.filters import PAGE_PARAMETERS
from killswitch.audit.models import EventKind
from killswitch.runtime.days import PERIOD_LABELS, Period, day_texts, range_of
from killswitch.runtime.filter_values import FilterLink

MAX_SUGGESTIONS: Final = 200  # of one column
Choices = Sequence[tuple[str, str]]

KIND_GROUPS: Final[Mapping[str, Sequence[str]]] = {
    "Cancels": (
        "REQUESTED",
        "FINISHED",
        "ATTEMPT",
        "SECOND_LOOK",
        "REASON_COMPLETED",
        "TAKEN_OVER",
        "PUBLISH_FAILED",
        "TELEPHONED",
        "BREAK_GLASS_RECORDED",
    ),
    "Holds": [kind for kind in EventKind.values if kind.startswith("HOLD_")],
    "Alarms": [kind for kind in EventKind.values if kind.startswith("ALARM_")],
    "Signing in": (
        "SIGNED_IN",
        "SIGN_IN_FAILED",
        "SIGNED_OUT",
        "DENIED",
        "SECOND_FACTOR_ADDED",
        "SECOND_FACTOR_REMOVED",
        "RECOVERY_CODES_RENEWED",
        "RECOVERY_CODE_USED",
    ),
    "Users and exchanges": (
        "PERSON_ADDED",
        "PERSON_CHANGED",
        "ROLE_CHANGED",
        "PASSWORD_CHANGED",
        "SECOND_FACTOR_RESET",
        "EXCHANGE_ADDED",
        "EXCHANGE_CHANGED",
        "GROUP_ADDED",
        "GROUP_CHANGED",
        "GROUP_REMOVED",
        "RUNBOOK_CHANGED",
    ),
    "Review and exports": (
        "REVIEWED",
        "QUERIED",
        "QUERY_ANSWERED",
        "CLOSED",
        "PERIOD_SIGNED_OFF",
        "EXPORTED",
        "EXPORT_COMPLETED",
        "REQUESTS_EXPORTED",
    ),
    "System": ("STARTED", "STOPPED", "GUARDS_PUT_BACK", "RESTORED"),
}


def kind_choices() -> list[tuple[str, Choices]]:
    """Return the event types in groups, with their labels."""
    groups = {
        name: [(kind, EventKind(kind).label) for kind in kinds]
        for name, kinds in KIND_GROUPS.items()
    }
    groups["Users and exchanges"].insert(0, (CHANGES, f"{CHANGES_LABEL} (all)"))
    grouped = {kind for kinds in KIND_GROUPS.values() for kind in kinds}
    if others := [(kind, label) for kind, label in EventKind.choices if kind not in grouped]:
        groups["Other"] = others
    return list(groups.items())


def status_choices() -> list[tuple[str, Choices]]:
    """Return the statuses in the words of the pages: the failures first, those on the way last."""
    failures = [(status, status_labels[status]) for status in NOT_CONFIRMED_STATUSES]
    on_the_way = [
        (status, status.capitalize())
        for status in status_labels
        if status not in {"CONFIRMED", *NOT_CONFIRMED_STATUSES}
    ]
    return [
        (
            NOT_CONFIRMED_LABEL,
            [(NOT_CONFIRMED, f"{NOT_CONFIRMED_LABEL}, or open again"), *failures],
        ),
        ("Confirmed", [("CONFIRMED", status_labels["CONFIRMED"])]),
        ("Status on the way", on_the_way),
    ]


def suggestions() -> dict[str, list[str]]:
    """Return the values of each of these fields, without unprintable ones."""
    values = {
        "exchange": distinct_values("exchange_id", limit=MAX_SUGGESTIONS),
        "reject_reason": distinct_values("reject_reason", limit=MAX_SUGGESTIONS),
        "actor": [
            *(user.full_text for user in User.objects.all()[:MAX_SUGGESTIONS]),
            *distinct_values("actor", limit=MAX_SUGGESTIONS),
        ],
    }
    return {
        name: [value for value in dict.fromkeys(found) if value.isprintable()]
        for name, found in values.items()
    }


def form_values(query: Mapping[str, str]) -> dict[str, str]:
    """Return what a form shows again as it was typed."""
    return {name: query[name] for name in FIELDS if query.get(name)}


def day_links(query: QueryDict, *, today: date) -> list[FilterLink]:
    """Return links to usual ranges of days, which keep the rest of the filter."""
    rest = {
        name: value
        for name, value in query.dict().items()
        if value and name not in {"from", "to", *PAGE_PARAMETERS}
    }
    shown = (query.get("from", ""), query.get("to", ""))
    links = []
    for period, label in PERIOD_LABELS.items():
        days = day_texts(*range_of(period, today=today))
        is_current = shown == (days["from"], days["to"])
        links.append(
            FilterLink(label=label, query=urlencode({**rest, **days}), is_current=is_current)
        )
    return links


def useful_filters(query: QueryDict, *, today: date) -> list[FilterLink]:
    """Return the filters that compliance needs most often."""
    week = day_texts(*range_of(Period.WEEK, today=today))
    month = day_texts(*range_of(Period.MONTH, today=today))
    filters = {
        "Failed cancels, 7 days": {"kind": "FINISHED", "status": NOT_CONFIRMED, **week},
        "Unreviewed": {"unreviewed": "1"},
        "Failed sign-ins, 7 days": {"kind": "SIGN_IN_FAILED", **week},
        "Administration, this month": {"kind": CHANGES, **month},
    }
    shown = form_values({name: str(value) for name, value in query.items()})
    return [
        FilterLink(label=label, query=urlencode(values), is_current=shown == values)
        for label, values in filters.items()
    ]
