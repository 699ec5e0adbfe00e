"""Compares a small table with the state that its change events add up to, oldest first."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from killswitch.audit.models import Kind
from killswitch.audit.reconciliation.comparison import (
    MAX_VALUE_CHARS,
    LoggedEvent,
    differing,
    pages,
    snapshot,
)
from killswitch.audit.reconciliation.registry import Discrepancy
from killswitch.audit.verification.findings import Progress

LoggedColumns = dict[str, tuple[Any, int]]
"""What the log last said of each column of a row, and in which event."""


@dataclass(frozen=True, kw_only=True)
class ReplayedTable:
    """A table of which every change is an event, and how these events name its rows."""

    noun: str
    kinds: tuple[Kind, ...]
    named_by: str  # the column
    name_in: Callable[[LoggedEvent], str]
    columns: tuple[str, ...]
    rows: Callable[[], Iterable[Mapping[str, Any]]]

    def disagreements(
        self, _ids: Sequence[str] | None, _progress: Progress
    ) -> Iterator[Discrepancy]:
        """Of all rows, each time: there are few, and few events about them."""
        if next(self._differences(), None) is None:
            return
        # A change may have been committed between the two readings.
        with snapshot():
            found = list(self._differences())
        yield from found

    def _differences(self) -> Iterator[Discrepancy]:
        said = self._said()
        for row in self.rows():
            name = self._name(row[self.named_by])
            columns = said.pop(row[self.named_by], None)
            if columns is None:
                reason = f"{name} stands in the table, and no event says that it was added"
                yield Discrepancy(seq=None, reason=reason)
                continue
            for column, (value, seq) in columns.items():
                if row[column] != value:
                    yield differing(name, column, row[column], said=value, seq=seq)
        for gone, columns in said.items():
            newest = max((seq for _, seq in columns.values()), default=None)
            reason = f"{self._name(gone)} was deleted or renamed: only the log knows it"
            yield Discrepancy(seq=newest, reason=reason)

    def _said(self) -> dict[str, LoggedColumns]:
        events = [event for kind in self.kinds for page in pages(kind) for event in page]
        said: dict[str, LoggedColumns] = {}
        for event in sorted(events, key=lambda event: event.seq):
            name, changes = self.name_in(event), event.facts.get("changes")
            if isinstance(changes, dict):
                pairs = {column: pair for column, pair in changes.items() if _is_pair(pair)}
                old_name, _ = pairs.get(self.named_by, (None, None))
                said[name] = said.pop(old_name or name, {})
                now = {column: new for column, (_, new) in pairs.items()}
            else:
                now = event.facts  # added by the configuration: what is, without what was
            carried = {column: now[column] for column in self.columns if column in now}
            row = said.setdefault(name, {})
            row |= {column: (value, event.seq) for column, value in carried.items()}
        return said

    def _name(self, name: object) -> str:
        return f"{self.noun} {name!s:.{MAX_VALUE_CHARS}}"


def _is_pair(pair: object) -> bool:
    return isinstance(pair, list) and len(pair) == 2
