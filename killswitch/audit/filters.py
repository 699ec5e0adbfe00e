"""Filters of the log: read from a query string or command line, described, applied.

Pages and exports use the same filters, so that what was seen can be exported.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Final, Self

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import QueryDict

from killswitch.audit.actors import SYSTEM
from killswitch.audit.canonical_json import utc_text
from killswitch.audit.distinct_values import contains, matching, suggestions
from killswitch.audit.event_kinds import CHANGE_KINDS
from killswitch.audit.event_search import EventSearch
from killswitch.audit.filter_fields import (
    CHANGES,
    CHANGES_LABEL,
    FIELDS,
    NOT_CONFIRMED,
    NOT_CONFIRMED_LABEL,
    status_labels,
)
from killswitch.audit.models import AuditEvent, EventKind
from killswitch.audit.not_confirmed import not_confirmed
from killswitch.audit.review import unreviewed
from killswitch.runtime.days import EMPTY_RANGE, day_texts, range_text, within
from killswitch.runtime.filter_values import InvalidFilter, did_you_mean, parse_fields, read_query
from killswitch.runtime.lookups import compared
from killswitch.runtime.text import quoted

# Parameters of a page's address that belong to no filter.
PAGE_PARAMETERS: Final = frozenset({"before", "after", "marked", "size"})
# The columns that are searched for free text, in addition to the data.
SEARCHED_COLUMNS: Final = ("actor", "exchange_id", "reject_reason")
# The columns that must equal the filter's value, unless it stands for several.
EQUAL_COLUMNS: Final = ("kind", "status", "request_id")
# The pairs of fields that have an index together. Each field alone may select a great part of the
# log, and both of them nothing.
INDEXED_TOGETHER: Final = (
    ("kind", "person"),
    ("kind", "exchange"),
    ("kind", "status"),
    ("kind", "reject_reason"),
    ("exchange", "reject_reason"),
)
# How an export records each of these values, which no column contains.
RECORDED_GROUPS: Final[Mapping[str, tuple[str, str]]] = {
    NOT_CONFIRMED: ("outcome", NOT_CONFIRMED),
    CHANGES: ("kind_in", " ".join(CHANGE_KINDS)),
}


@dataclass(frozen=True, kw_only=True)
class EventFilter:
    """Selects the events that match all given fields. `from_at` is included, `to_at` is not.

    `exchange`, `person` and `reject_reason` are parts of names, in any case. A person's events are
    their own and the outcomes of their requests, which the system records.
    """

    from_at: datetime | None = None
    to_at: datetime | None = None
    exchange: str = ""
    person: str = ""
    kind: str = ""
    status: str = ""
    reject_reason: str = ""
    request_id: str = ""
    text: str = ""
    unreviewed: bool = False

    @classmethod
    def from_query(cls, query: QueryDict) -> Self:
        """Return the filter of a query string. Raises `InvalidFilter`."""
        words, errors = read_query(query, FIELDS, others=PAGE_PARAMETERS)
        return cls.from_words(words, errors=errors)

    @classmethod
    def from_words(
        cls, values: Mapping[str, str], *, errors: Mapping[str, str] | None = None
    ) -> Self:
        """Return the filter of the command line's options. Raises `InvalidFilter`."""
        errors = {**(errors or {})}
        columns = parse_fields(values, FIELDS, errors=errors)
        start, end = columns.get("from_at"), columns.get("to_at")
        if start and end and start >= end:
            errors["to"] = f"To: {EMPTY_RANGE}"
        kind = columns.get("kind", EventKind.FINISHED)
        if columns.get("status") == NOT_CONFIRMED and kind != EventKind.FINISHED:
            errors["kind"] = (
                f"Event type: status “{NOT_CONFIRMED_LABEL}” finds outcomes only. Choose"
                f" “{EventKind.FINISHED.label}” or “All types”."
            )
        if errors:
            raise InvalidFilter(errors)
        return cls(**columns)

    def to_query(self) -> str:
        """Return the query string of this filter, empty for the whole log."""
        query = QueryDict(mutable=True)
        query.update(self.as_text())
        return query.urlencode()

    def as_text(self) -> dict[str, str]:
        """Return the given values by their names in a query string; whole days as days."""
        return self._texts() | day_texts(self.from_at, self.to_at)

    def as_data(self) -> dict[str, str]:
        """Return the given values by name, as exports record them."""
        data = {FIELDS[name].recorded_as: text for name, text in self._texts().items()}
        for name in ("status", "kind"):
            if data.get(name) in RECORDED_GROUPS:
                key, value = RECORDED_GROUPS[data.pop(name)]
                data[key] = value
        return data

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Self:
        """Return the filter that an export has recorded. Raises `InvalidFilter`.

        Also for a list of values that is no choice of this version.
        """
        names = {field.recorded_as: name for name, field in FIELDS.items()}
        groups = {(key, value): group for group, (key, value) in RECORDED_GROUPS.items()}
        words = {}
        for key, value in data.items():
            if group := groups.get((key, str(value))):
                words["kind" if group == CHANGES else "status"] = group
            else:
                words[names.get(key, key.removesuffix("_id"))] = str(value)
        return cls.from_words(words)

    def _texts(self) -> dict[str, str]:
        values = {name: getattr(self, field.attribute) for name, field in FIELDS.items()}
        return {
            name: utc_text(value)
            if isinstance(value, datetime)
            else "1"
            if value is True
            else str(value)
            for name, value in values.items()
            if value
        }

    def describe(self) -> str:
        """Return the filter in words, e.g. "20 to 27 Nov 2026 (UTC), Request finished"."""
        parts = [
            range_text(self.from_at, self.to_at),
            CHANGES_LABEL if self.kind == CHANGES else self.kind and EventKind(self.kind).label,
            self._status_words(),
            self.person and f"by or requested by “{self.person}”",
            self.exchange and f"exchange “{self.exchange}”",
            self.reject_reason and f"reject reason “{self.reject_reason}”",
            self.request_id and f"request {self.request_id}",
            self.text and f"with the text “{self.text}”",
            "unreviewed only" if self.unreviewed else "",
        ]
        return ", ".join(filter(None, parts)) or "the whole log"

    @property
    def is_everything(self) -> bool:
        return self == type(self)()

    def _status_words(self) -> str:
        if self.status == NOT_CONFIRMED:
            return "not confirmed"
        return f"status “{status_labels.get(self.status, self.status)}”" if self.status else ""

    def check_names(self) -> None:
        """Raise `InvalidFilter` for a part of a name that no event contains.

        Such a filter selects nothing, and is probably mistyped.
        """
        errors = {}
        for name, column in (
            ("exchange", "exchange_id"),
            ("actor", "actor"),
            ("reject_reason", "reject_reason"),
        ):
            text = getattr(self, FIELDS[name].attribute)
            if text and (meant := suggestions(column, text)) is not None:
                hint = did_you_mean(meant)
                errors[name] = f"{FIELDS[name].label}: No event has {quoted(text)}.{hint}"
        if errors:
            raise InvalidFilter(errors)

    def events(self, *, after: int = 0) -> QuerySet[AuditEvent]:
        """Return the selected events with a higher number than this."""
        condition = self._by_row(are_few=bool(after)) & self._times
        for named in self._by_name:
            condition &= named
        if after:
            condition &= Q(seq__gt=after)
        if self.unreviewed:
            condition &= unreviewed()
        return AuditEvent.objects.filter(condition)

    @cached_property
    def search(self) -> EventSearch:
        """Return the search for the selected events in a long log."""
        return EventSearch(
            times=self._times,
            by_name=self._by_name,
            others=self._by_row(are_few=False),
            others_of_few=self._by_row(are_few=True),
            is_unreviewed=self.unreviewed,
            has_text=bool(self.text),
        )

    @property
    def _times(self) -> Q:
        return within("at", start=self.from_at, end=self.to_at)

    @cached_property
    def _by_name(self) -> list[Q]:
        """Return the conditions on columns or pairs of columns that have an index."""
        conditions = {
            name: _equals(name, value) for name in EQUAL_COLUMNS if (value := getattr(self, name))
        }
        if self.exchange:
            conditions["exchange"] = contains("exchange_id", self.exchange)
        if self.reject_reason:
            # SQLite uses the index of events with a reason only if the query excludes the others.
            conditions["reject_reason"] = contains("reject_reason", self.reject_reason) & ~Q(
                reject_reason=""
            )
        if self._is_by_actor:
            conditions["person"] = contains("actor", self.person)
        pairs = [
            pair
            for pair in INDEXED_TOGETHER
            if conditions.keys() >= {*pair}
            and not ("status" in pair and self.status == NOT_CONFIRMED)
        ]
        paired = {name for pair in pairs for name in pair}
        return [conditions[first] & conditions[second] for first, second in pairs] + [
            condition for name, condition in conditions.items() if name not in paired
        ]

    @property
    def _is_by_actor(self) -> bool:
        """Return True if the person's events are only their own: of this type are no outcomes."""
        return bool(self.person and self.kind) and self.kind != EventKind.FINISHED

    def _by_row(self, *, are_few: bool) -> Q:
        """Return the conditions that no single column fulfils."""
        is_of_person = bool(self.person) and not self._is_by_actor
        condition = _of_person(self.person, are_few=are_few) if is_of_person else Q()
        if self.text:
            # Data is stored as JSON, in which quotes and backslashes of the text are escaped.
            in_text = Q(data__icontains_in_many=json.dumps(self.text, ensure_ascii=False)[1:-1])
            for column in SEARCHED_COLUMNS:
                in_text |= Q(**{f"{column}__icontains_in_many": self.text})
            condition &= in_text
        return condition


def _equals(column: str, value: str) -> Q:
    if value == NOT_CONFIRMED:
        return not_confirmed()
    return Q(kind__in=CHANGE_KINDS) if value == CHANGES else Q(**{column: value})


def _of_person(name: str, *, are_few: bool) -> Q:
    """Return the condition for a person's events and the outcomes of their requests.

    Among few events, each outcome looks for its own request. Among many, both are found by indexes:
    as numbers of events, so that no plan goes through the whole log.
    """
    by_name = contains("actor", name)
    if SYSTEM.name in (matching("actor", name) or ()):
        return by_name  # the system records every outcome
    own = AuditEvent.objects.filter(by_name).order_by()
    if are_few:
        # By their ID alone: SQLite would go through all requests of the person otherwise.
        requests = AuditEvent.objects.order_by().filter(
            compared(by_name & Q(kind=EventKind.REQUESTED)), request_id=OuterRef("request_id")
        )
        return compared(by_name | Q(Exists(requests), kind=EventKind.FINISHED))
    # Compared by their beginnings, because SQLite would use the index of the kinds otherwise and go
    # through all requests and outcomes.
    requests = own.filter(kind__startswith=EventKind.REQUESTED)
    outcomes = AuditEvent.objects.order_by().filter(
        request_id__in=requests.values("request_id"), kind__startswith=EventKind.FINISHED
    )
    return Q(seq__in=own.values("seq").union(outcomes.values("seq"), all=True))
