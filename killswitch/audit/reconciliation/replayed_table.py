"""Compares a small table with the state that its change events add up to."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from killswitch.audit.event_reader import read
from killswitch.audit.models import AuditEvent, EventKind
from killswitch.audit.reconciliation.comparison import (
    MAX_VALUE_CHARS,
    batches,
    confirmed,
    differing,
    discrepancy,
)
from killswitch.audit.verification.findings import Finding, Progress


@dataclass(frozen=True, kw_only=True)
class ReplayedTable:
    """A table that is changed only with an event, and how these events name its rows."""

    noun: str
    kinds: tuple[EventKind, ...]  # the first one adds a row, the others change it
    named_by: str  # the column
    name_in: Callable[[AuditEvent], str]
    columns: tuple[str, ...]
    rows: Callable[[], Iterable[Mapping[str, Any]]]
    removal: EventKind | None = None  # of a row that was deleted as it should be
    added_empty: tuple[str, ...] = ()  # columns of text, "" if the event that adds a row omits them

    def discrepancies(self, _ids: Sequence[str] | None, _progress: Progress) -> Iterator[Finding]:
        """Compare all rows, in every verification: they are few, and so are their events."""
        yield from confirmed(self._compare)

    def _compare(self) -> Iterator[Finding]:
        logged_rows = self._replay()
        for row in self.rows():
            name = row[self.named_by]
            label = f"{self.noun} {name!s:.{MAX_VALUE_CHARS}}"
            if name not in logged_rows:
                yield discrepancy(f"{label} is in the table, but no event says that it was added")
            for column, (value, seq) in logged_rows.pop(name, {}).items():
                if row[column] != value:
                    yield differing(label, column, row[column], logged=value, seq=seq)
        for name, columns in logged_rows.items():
            label = f"{self.noun} {name!s:.{MAX_VALUE_CHARS}}"
            newest = max((seq for _, seq in columns.values()), default=None)
            yield discrepancy(f"{label} was deleted or renamed without an event", seq=newest)

    def _replay(self) -> dict[str, dict[str, tuple[Any, int]]]:
        """Return the logged value of each column of each row, and the event that set it."""
        kinds = (*self.kinds, self.removal) if self.removal else self.kinds
        of_kinds = (AuditEvent.objects.filter(kind=kind) for kind in kinds)
        events = chain.from_iterable(batches(*of_kinds, by="seq"))
        rows: dict[str, dict[str, tuple[Any, int]]] = {}
        for event in sorted(events, key=lambda event: event.seq):
            name, values = self.name_in(event), read(event).facts
            if event.kind == self.removal:
                rows.pop(name, None)
                continue
            if "changes" in values:  # otherwise the configuration added the row
                changes = values["changes"]
                old_name, _ = changes.get(self.named_by, (None, None))
                if event.kind != self.kinds[0] and (old_name or name) not in rows:
                    continue  # a change does not prove that the row was added
                rows[name] = rows.pop(old_name or name, {})
                values = {column: new for column, (_, new) in changes.items()}
            row = rows.setdefault(name, {})
            if event.kind == self.kinds[0]:
                row |= dict.fromkeys(self.added_empty, ("", event.seq))
            row |= {
                column: (values[column], event.seq) for column in self.columns if column in values
            }
        return rows
