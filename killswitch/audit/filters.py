"""Filters of the log: read from a query string or command line, described, applied.

Pages and exports use the same filters, so that what was seen can be exported.
"""

import json
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from typing import Any, Final, NamedTuple, Self

from django.db.models import Q, QuerySet
from django.http import QueryDict

from killswitch.audit.canonical_json import utc_text
from killswitch.audit.models import AuditEvent, EventKind
from killswitch.audit.review import unreviewed
from killswitch.runtime.text import truncate

MAX_CHARS: Final = 200
MAX_SHOWN_CHARS: Final = 60  # of a wrong value in an error message
# Parameters of a page's address that belong to no filter.
PAGE_PARAMETERS: Final = frozenset({"before", "after", "marked"})
# The columns that are searched for free text, in addition to the data.
SEARCHED_COLUMNS: Final = ("actor", "exchange_id", "reject_reason")
STATUSES: Final = (
    "REQUESTED",
    "SENDING",
    "VERIFYING",
    "CONFIRMED",
    "RESIDUAL",
    "UNVERIFIED",
    "REJECTED",
    "NOT_DELIVERED",
    "UNKNOWN",
)
# The columns that must equal the filter's value.
EQUAL_COLUMNS: Final = ("exchange_id", "actor", "kind", "status", "reject_reason", "request_id")


class InvalidFilter(ValueError):
    """A filter that cannot be applied, with a sentence for each wrong field."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        super().__init__(" ".join(errors.values()))
        self.errors = errors


@dataclass(frozen=True, kw_only=True)
class EventFilter:
    """Selects the events that match all given fields. `from_at` is included, `to_at` is not."""

    from_at: datetime | None = None
    to_at: datetime | None = None
    exchange_id: str = ""
    actor: str = ""
    kind: str = ""
    status: str = ""
    reject_reason: str = ""
    request_id: str = ""
    text: str = ""
    unreviewed: bool = False

    @classmethod
    def from_query(cls, query: QueryDict) -> Self:
        """Return the filter of a query string. Raises `InvalidFilter`.

        Unknown names are refused, because a mistyped filter must not select everything.
        """
        errors = {}
        for name in query:
            if len(query.getlist(name)) > 1:
                label = FIELDS[name].label if name in FIELDS else _shown(name)
                errors[name] = f"{label} is given more than once. Give it once."
        values = {name: str(value) for name, value in query.items() if name not in PAGE_PARAMETERS}
        return cls.from_words(values, errors=errors)

    @classmethod
    def from_words(
        cls, values: Mapping[str, str], *, errors: Mapping[str, str] | None = None
    ) -> Self:
        """Return the filter of the command line's options. Raises `InvalidFilter`."""
        columns: dict[str, Any] = {}
        errors = {**(errors or {})}
        for name, value in values.items():
            text = value.strip()
            if text and name not in FIELDS:
                errors[name] = f"There is no filter named {_shown(name)}."
            elif text:
                try:
                    columns[FIELDS[name].attribute] = FIELDS[name].parse(text)
                except ValueError as error:
                    errors[name] = f"{FIELDS[name].label}: {error}"
        start, end = columns.get("from_at"), columns.get("to_at")
        if start and end and start >= end:
            errors["to"] = "To must be later than From."
        if errors:
            raise InvalidFilter(errors)
        return cls(**columns)

    def to_query(self) -> str:
        """Return the query string of this filter, empty for the whole log."""
        query = QueryDict(mutable=True)
        query.update(self.as_text())
        return query.urlencode()

    def as_text(self) -> dict[str, str]:
        """Return the given values by their names in a query string."""
        values = {name: getattr(self, field.attribute) for name, field in FIELDS.items()}
        texts = {}
        for name, value in values.items():
            if isinstance(value, datetime):
                texts[name] = utc_text(value)
            elif value:
                texts[name] = "1" if value is True else value
        return texts

    def as_data(self) -> dict[str, str]:
        """Return the given values by column, as exports record them."""
        texts = self.as_text().items()
        return {FIELDS[name].attribute.removesuffix("_at"): text for name, text in texts}

    def describe(self) -> str:
        """Return the filter in words, e.g. "20 to 27 Nov 2026, Request finished"."""
        parts = [
            _time_range(self.from_at, self.to_at),
            self.exchange_id and f"exchange {self.exchange_id}",
            self.actor and f"by {self.actor}",
            self.kind and EventKind(self.kind).label,
            self.status and f"status {self.status}",
            self.reject_reason and f"reject reason {self.reject_reason}",
            self.request_id and f"request {self.request_id}",
            self.text and f"with the text “{self.text}”",
            "unreviewed only" if self.unreviewed else "",
        ]
        return ", ".join(filter(None, parts)) or "the whole log"

    @property
    def is_everything(self) -> bool:
        return self == type(self)()

    @property
    def is_by_time(self) -> bool:
        """Return whether pages are sorted by time: by number, a range of time is slow to find."""
        return bool(self.from_at or self.to_at)

    def events(self) -> QuerySet[AuditEvent]:
        """Return the selected events."""
        condition = Q(**{name: value for name in EQUAL_COLUMNS if (value := getattr(self, name))})
        if self.from_at:
            condition &= Q(at__gte=self.from_at)
        if self.to_at:
            condition &= Q(at__lt=self.to_at)
        if self.text:
            # Data is stored as JSON, in which quotes and backslashes of the text are escaped.
            in_text = Q(data__icontains=json.dumps(self.text, ensure_ascii=False)[1:-1])
            for column in SEARCHED_COLUMNS:
                in_text |= Q(**{f"{column}__icontains": self.text})
            condition &= in_text
        if self.unreviewed:
            condition &= unreviewed()
        return AuditEvent.objects.filter(condition)

    def beyond(
        self, edge: AuditEvent | None = None, *, newest_first: bool = True
    ) -> QuerySet[AuditEvent]:
        """Return the selected events before or after the edge of a page, nearest first.

        Without an edge, they begin with the newest. New events do not move such a page.
        """
        side, order = ("lt", "-") if newest_first else ("gt", "")
        is_beyond = Q(**{f"seq__{side}": edge.seq}) if edge else Q()
        if not self.is_by_time:
            return self.events().filter(is_beyond).order_by(f"{order}seq")
        if edge:
            is_beyond = Q(**{f"at__{side}": edge.at}) | (Q(at=edge.at) & is_beyond)
            # This condition is part of the other one, and lets the index start at the edge.
            is_beyond &= Q(**{f"at__{side}e": edge.at})
        return self.events().filter(is_beyond).order_by(f"{order}at", f"{order}seq")


def _shown(text: str) -> str:
    return truncate(text, MAX_SHOWN_CHARS)


def _time_range(start: datetime | None, end: datetime | None) -> str:
    """Return e.g. "20 to 27 Nov 2026"; an end at midnight means the whole day before."""
    if start and end and start.time() == end.time() == time.min:
        first, last = start.date(), end.date() - timedelta(days=1)
        if first == last:
            return _day(last)
        is_same_month = (first.year, first.month) == (last.year, last.month)
        return f"{first.day if is_same_month else _day(first)} to {_day(last)}"
    parts = [f"from {_moment(start)}"] if start else []
    if end and end.time() == time.min and end.date() > date.min:
        parts.append(f"up to and including {_day(end.date() - timedelta(days=1))}")
    elif end:
        parts.append(f"before {_moment(end)}")
    return ", ".join(parts)


def _day(day: date) -> str:
    return f"{day.day} {day:%b %Y}"


def _moment(at: datetime) -> str:
    if at.time() == time.min:
        return _day(at.date())
    return f"{_day(at.date())}, {at.time().isoformat()} UTC"


def _parse_time(text: str, *, is_end: bool = False) -> datetime:
    """Return a day or a time, in UTC unless it has an offset. A day as the end is included."""
    try:
        if len(text) == len("2026-11-22"):
            day = date.fromisoformat(text) + timedelta(days=1 if is_end else 0)
            return datetime.combine(day, time.min, tzinfo=UTC)
        at = datetime.fromisoformat(text)
        # An unescaped plus sign in an address arrives as a space, and is refused here.
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(
            f"“{_shown(text)}” is not a time. Write 2026-11-22 or 2026-11-22T08:30:00.5 (UTC)."
        ) from None


def _parse_text(text: str) -> str:
    if len(text) > MAX_CHARS:
        raise ValueError(f"is longer than {MAX_CHARS} characters.")
    if any(character == "\0" or "\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("contains a character that no event can contain.")
    return text


def _parse_kind(text: str) -> str:
    if text.upper() not in EventKind.values:
        raise ValueError("choose an event type from the list.")
    return text.upper()


def _parse_status(text: str) -> str:
    if not re.fullmatch("[A-Z_]{1,20}", text.upper()):
        raise ValueError(
            f"“{_shown(text)}” is not a status. The statuses are {', '.join(STATUSES)}."
        )
    return text.upper()


def _parse_request(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise ValueError(f"“{_shown(text)}” is not the ID of a request.") from None


def _parse_flag(text: str) -> bool:
    if text != "1":
        raise ValueError("must be 1, or left out.")
    return True


class Field(NamedTuple):
    """A field of the filter: its attribute, its label on the page of the log, and its parser."""

    attribute: str
    label: str
    parse: Callable[[str], Any]


# By their names in a query string and on the command line, in reading order.
FIELDS: Final[Mapping[str, Field]] = {
    "from": Field("from_at", "From", _parse_time),
    "to": Field("to_at", "To", partial(_parse_time, is_end=True)),
    "exchange": Field("exchange_id", "Exchange", _parse_text),
    "actor": Field("actor", "User", _parse_text),
    "kind": Field("kind", "Event type", _parse_kind),
    "status": Field("status", "Status", _parse_status),
    "reject_reason": Field("reject_reason", "Reject reason", _parse_text),
    "request": Field("request_id", "Request", _parse_request),
    "text": Field("text", "Search text", _parse_text),
    "unreviewed": Field("unreviewed", "Unreviewed only", _parse_flag),
}
