"""What a cancel does not include: exchanges with open orders elsewhere, and disabled ones."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from killswitch.exchanges.models import Exchange, UncoveredExchange
from killswitch.runtime.text import pluralize_count

NOT_ENABLED, DISABLED = "not_enabled", "disabled"


def find_exclusions(
    *, included: Iterable[Exchange], disabled: Iterable[Exchange], everywhere: bool
) -> list[dict[str, Any]]:
    """Return what a cancel leaves out, as `Batch.not_included` stores it, in one query at most.

    `disabled` are the exchanges that are configured here and disabled: all of them for a cancel
    everywhere, otherwise those of its targets. Only a cancel everywhere also leaves out the
    exchanges with open orders that are not configured at all.
    """
    ids = [exchange.exchange_id for exchange in disabled]
    uncovered = UncoveredExchange.objects.all()
    if not everywhere:
        uncovered = uncovered.filter(exchange_id__in=ids)  # no query without ids
    counts = {row.exchange_id: row.open_orders for row in uncovered}
    for exchange in included:  # enabled since the observer has looked
        counts.pop(exchange.exchange_id, None)
    left_out = [
        {"exchange_id": name, "open_orders": counts.pop(name, None), "why": DISABLED}
        for name in ids
    ]
    if everywhere:
        left_out += [
            {"exchange_id": name, "open_orders": count, "why": NOT_ENABLED}
            for name, count in counts.items()
        ]
    return sorted(left_out, key=lambda row: str(row["exchange_id"]))


def sum_exclusions(entries: Sequence[Any]) -> dict[str, int]:
    """Return how many exchanges were left out, and the sum of their known open orders."""
    counts = [entry.get("open_orders") for entry in entries if isinstance(entry, dict)]
    return {
        "exchanges": len(entries),
        "open_orders": sum(count for count in counts if isinstance(count, int)),
    }


def exclusion_text(entry: Mapping[str, Any]) -> str:
    """Return an exchange that was left out, e.g. "OKEX (5 open orders)"."""
    name, count = entry.get("exchange_id", ""), entry.get("open_orders")
    return f"{name} ({pluralize_count(count, 'open order')})" if isinstance(count, int) else name


@dataclass(frozen=True, kw_only=True)
class Exclusions:
    """What a cancel does not include, for a page."""

    not_enabled: Sequence[dict[str, Any]] = ()
    disabled: Sequence[dict[str, Any]] = ()

    @classmethod
    def of(cls, entries: object) -> Self | None:
        """Return the stored list for a page; None if it was not recorded."""
        if not isinstance(entries, list):
            return None
        rows = [entry for entry in entries if isinstance(entry, dict)]
        return cls(
            not_enabled=[row for row in rows if row.get("why") != DISABLED],
            disabled=[row for row in rows if row.get("why") == DISABLED],
        )

    @property
    def open_orders(self) -> int:
        """The open orders on the exchanges that are not enabled here."""
        return sum_exclusions(self.not_enabled)["open_orders"]
