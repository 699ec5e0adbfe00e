"""Figures and their limits, and the table that shows them."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One measured value; `ratio` compares it with its limit, where there is one."""

    name: str
    value: float
    unit: str
    limit: float | None = None

    @property
    def ratio(self) -> float | None:
        return self.value / self.limit if self.limit else None

    def to_line(self) -> str:
        """Return the figure as one line of JSON, for the process that prints the table."""
        return json.dumps(asdict(self))

    @classmethod
    def from_line(cls, line: str) -> Self:
        return cls(**json.loads(line))


def percentile(values: Iterable[float], percent: float) -> float:
    """Return the smallest value that so many percent of the values do not exceed."""
    ordered = sorted(values)
    position = -(-len(ordered) * percent // 100) - 1
    return ordered[max(int(position), 0)]


def print_table(figures_by_database: Mapping[str, Sequence[Figure]]) -> None:
    """Print a row for each figure, and a value and its ratio to the limit for each database."""
    names = list(
        dict.fromkeys(figure.name for column in figures_by_database.values() for figure in column)
    )
    columns = [{figure.name: figure for figure in c} for c in figures_by_database.values()]
    heads = "".join(f" | {name} | of limit" for name in figures_by_database)
    print(f"| figure | limit{heads} |")
    print(f"|---|---{'|---|---' * len(columns)}|")
    for name in names:
        figures = [column.get(name) for column in columns]
        known: Any = next(figure for figure in figures if figure)
        limit = "" if known.limit is None else _text(known.limit, known.unit)
        cells = "".join(f" | {_cells(figure)}" for figure in figures)
        print(f"| {name} | {limit}{cells} |")


def _cells(figure: Figure | None) -> str:
    if figure is None:
        return "not measured | "
    ratio = figure.ratio
    return f"{_text(figure.value, figure.unit)} | {'' if ratio is None else f'{ratio:.2f} x'}"


def _text(value: float, unit: str) -> str:
    digits = 0 if abs(value) >= 100 or value == int(value) else 2 if abs(value) < 10 else 1
    return f"{value:,.{digits}f} {unit}".strip()
