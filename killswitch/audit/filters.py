"""Which events somebody wants to see: read from a query string, said in words, asked of the log.

The same for the pages and for the export, so that what was seen can be exported.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, ClassVar, Final, Self

from django.db.models import Q, QuerySet
from django.http import QueryDict

from killswitch.audit.canonical_json import utc_text
from killswitch.audit.filter_fields import READERS, short
from killswitch.audit.models import AuditEvent
from killswitch.audit.review import unreviewed

# What a page's address carries beside the selection.
BESIDE: Final = frozenset({"before", "after", "marked"})
# Columns in which free text is looked for, beside the data.
SEARCHED: Final = ("actor", "exchange_id", "reject_reason")
_COLUMNS: Final = {"exchange": "exchange_id", "request": "request_id"}
_PLAIN_COLUMNS: Final = {"exchange_id", "actor", "kind", "status", "reject_reason", "request_id"}
_WORDS: Final = {
    "from": "from {} on",
    "to": "before {}",
    "exchange": "exchange {}",
    "actor": "by {}",
    "kind": "kind {}",
    "status": "status {}",
    "reject_reason": "reject reason {}",
    "request": "request {}",
    "text": "with the text “{}”",
    "unreviewed": "not yet reviewed",
}


class InvalidFilter(ValueError):
    """What was given cannot be a selection: a sentence for each field, and all that was given."""

    def __init__(self, *, errors: Mapping[str, str], given: Mapping[str, str]) -> None:
        super().__init__(" ".join(errors.values()))
        self.errors = errors
        self.given = given


@dataclass(frozen=True, kw_only=True)
class Cursor:
    """A place in the log from which to go on."""

    seq: int
    at: datetime


@dataclass(frozen=True, kw_only=True)
class EventFilter:
    """All that is given must hold. `from_at` is included, `to_at` is not."""

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

    # The names in a query string and on the command line, in the order in which people read them.
    NAMES: ClassVar[Mapping[str, str]] = {
        "from": "from_at",
        "to": "to_at",
        "exchange": "exchange_id",
        "actor": "actor",
        "kind": "kind",
        "status": "status",
        "reject_reason": "reject_reason",
        "request": "request_id",
        "text": "text",
        "unreviewed": "unreviewed",
    }

    @classmethod
    def from_query(cls, query: QueryDict) -> Self:
        """Read a query string. Raises `BadSelection`.

        A name that is not known is refused: a mistyped filter must not select everything.
        """
        twice = {name: f"{name}: is given twice." for name in query if len(query.getlist(name)) > 1}
        given = {name: value for name, value in query.items() if name not in BESIDE}
        return cls._read({name: str(value) for name, value in given.items()}, errors=twice)

    @classmethod
    def from_words(cls, given: Mapping[str, str]) -> Self:
        """The same from the command line's options. Raises `BadSelection`."""
        return cls._read(given, errors={})

    @classmethod
    def _read(cls, given: Mapping[str, str], *, errors: Mapping[str, str]) -> Self:
        found: dict[str, Any] = {}
        wrong = dict(errors)
        for name, value in given.items():
            try:
                if text := value.strip():
                    found[cls.NAMES[name]] = READERS[name](text)
            except KeyError:
                wrong[name] = f"{short(name)}: there is no such filter."
            except ValueError as error:
                wrong[name] = f"{name}: {error}"
        start, end = found.get("from_at"), found.get("to_at")
        if start and end and start >= end:
            wrong["to"] = "to: is not after the beginning, so nothing can be in between."
        if wrong:
            raise InvalidFilter(errors=wrong, given=given)
        return cls(**found)

    def to_query(self) -> str:
        """The query string that gives this selection again; empty when nothing is selected."""
        query = QueryDict(mutable=True)
        for name, value in self.as_text().items():
            query[name] = value
        return query.urlencode()

    def as_text(self) -> dict[str, str]:
        """What is selected, by the names of the query string: for a form."""
        given = {name: getattr(self, attribute) for name, attribute in self.NAMES.items()}
        return {name: _text(value) for name, value in given.items() if value}

    def as_data(self) -> dict[str, str]:
        """The same by the names of the log's columns: for evidence."""
        return {_COLUMNS.get(name, name): value for name, value in self.as_text().items()}

    def describe(self) -> str:
        """The selection in words for people."""
        said = [_WORDS[name].format(value) for name, value in self.as_text().items()]
        return ", ".join(said) or "the whole log"

    @property
    def is_everything(self) -> bool:
        """Whether nothing is left out."""
        return self == type(self)()

    @property
    def is_by_time(self) -> bool:
        """Whether pages go by time: a range of time in the order of numbers is slow to find."""
        return bool(self.from_at or self.to_at)

    def filter(self, events: QuerySet[AuditEvent]) -> QuerySet[AuditEvent]:
        """Those of the events that are selected."""
        names = [field.name for field in fields(self) if field.name in _PLAIN_COLUMNS]
        wanted = Q(**{name: value for name in names if (value := getattr(self, name))})
        if self.from_at:
            wanted &= Q(at__gte=self.from_at)
        if self.to_at:
            wanted &= Q(at__lt=self.to_at)
        if self.text:
            wanted &= _holds(self.text)
        if self.unreviewed:
            wanted &= unreviewed()
        return events.filter(wanted)

    def newest_first(
        self, events: QuerySet[AuditEvent], *, before: Cursor | None = None
    ) -> QuerySet[AuditEvent]:
        """The selected events as a page shows them, from a place on that stays put."""
        selected = self.filter(events)
        if not self.is_by_time:
            older = selected.filter(seq__lt=before.seq) if before else selected
            return older.order_by("-seq")
        if before:
            # Said twice: the second half alone decides, the first one lets the index begin there.
            same = Q(at__lt=before.at) | Q(at=before.at, seq__lt=before.seq)
            selected = selected.filter(Q(at__lte=before.at) & same)
        return selected.order_by("-at", "-seq")


def _holds(text: str) -> Q:
    """Data is kept as JSON, in which quotes and backslashes of the text are escaped."""
    escaped = json.dumps(text, ensure_ascii=False)[1:-1]
    found = Q(data__icontains=escaped)
    for column in SEARCHED:
        found |= Q(**{f"{column}__icontains": text})
    return found


def _text(value: object) -> str:
    if isinstance(value, datetime):
        return utc_text(value)
    return "1" if value is True else str(value)
