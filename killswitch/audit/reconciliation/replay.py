"""Compares a small table with the state that its change events add up to."""

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

ReplayedRow = dict[str, tuple[Any, int]]
"""The logged value of each column, and the event that set it."""


@dataclass(frozen=True, kw_only=True)
class ReplayedTable:
    """A table that is changed only with an event, and how these events name its rows."""

    noun: str
    kinds: tuple[Kind, ...]
    named_by: str  # the column
    name_in: Callable[[LoggedEvent], str]
    columns: tuple[str, ...]
    rows: Callable[[], Iterable[Mapping[str, Any]]]

    def disagreements(
        self, _ids: Sequence[str] | None, _progress: Progress
    ) -> Iterator[Discrepancy]:
        """Compare all rows, in every verification: they are few, and so are their events."""
        if next(self._compare(), None) is None:
            return
        # A change may have been committed between reading the log and reading the table.
        with snapshot():
            discrepancies = list(self._compare())
        yield from discrepancies

    def _compare(self) -> Iterator[Discrepancy]:
        replayed = self._replay()
        for row in self.rows():
            name = row[self.named_by]
            columns = replayed.pop(name, None)
            if columns is None:
                reason = f"{self._label(name)} is in the table, but no event says that it was added"
                yield Discrepancy(seq=None, reason=reason)
                continue
            for column, (value, seq) in columns.items():
                if row[column] != value:
                    yield differing(self._label(name), column, row[column], logged=value, seq=seq)
        for name, columns in replayed.items():
            newest = max((seq for _, seq in columns.values()), default=None)
            reason = f"{self._label(name)} was deleted or renamed without an event"
            yield Discrepancy(seq=newest, reason=reason)

    def _replay(self) -> dict[str, ReplayedRow]:
        events = [event for kind in self.kinds for page in pages(kind) for event in page]
        rows: dict[str, ReplayedRow] = {}
        for event in sorted(events, key=lambda event: event.seq):
            name, changes = self.name_in(event), event.facts.get("changes")
            if isinstance(changes, dict):
                pairs = {
                    column: pair
                    for column, pair in changes.items()
                    if isinstance(pair, list) and len(pair) == 2
                }
                old_name, _ = pairs.get(self.named_by, (None, None))
                rows[name] = rows.pop(old_name or name, {})
                values = {column: new for column, (_, new) in pairs.items()}
            else:
                values = event.facts  # a row that the configuration added, without old values
            row = rows.setdefault(name, {})
            row |= {
                column: (values[column], event.seq) for column in self.columns if column in values
            }
        return rows

    def _label(self, name: object) -> str:
        return f"{self.noun} {name!s:.{MAX_VALUE_CHARS}}"
