"""Lays out the outcomes of days as plain shapes, which a template writes as SVG.

Only numbers and class names leave this module. Colours are in the style sheet, because a strict
content security policy forbids them inline.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from killswitch.compliance.event_outcomes import OUTCOMES
from killswitch.compliance.outcomes import Day, Times
from killswitch.runtime.text import duration_text

WIDTH: Final = 960
HEIGHT: Final = 220
LEFT: Final = 56
RIGHT: Final = 8
TOP: Final = 12
BOTTOM: Final = 28
MAX_BAR_WIDTH: Final = 26.0
MAX_LABELS: Final = 10
MIN_STEPS: Final = 4
MARK_RADIUS: Final = 4.5


@dataclass(frozen=True, kw_only=True)
class BarSegment:
    """One status in a bar: its top left corner and its size."""

    x: str
    y: str
    width: str
    height: str
    status: str


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A day's bar from the bottom up."""

    day: Day
    segments: Sequence[BarSegment]


@dataclass(frozen=True, kw_only=True)
class DurationMark:
    """The median duration of a day as a mark, and a line from it up to the maximum."""

    day: Day
    name: str  # "answer" or "outcome"
    times: Times
    x: str
    median: str
    maximum: str
    points: str  # the four corners of a diamond

    @property
    def words(self) -> str:
        return "first attempt" if self.name == "answer" else self.name


@dataclass(frozen=True, kw_only=True)
class Label:
    """A label at its position on an axis."""

    at: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Chart:
    """The bars of outcomes and the marks of durations, which share the axis of days."""

    days: Sequence[Label]
    bars: Sequence[Bar]
    counts: Sequence[Label]
    marks: Sequence[DurationMark]
    durations: Sequence[Label]

    # The frame, for the template.
    width, height, left, right, before, under = (
        WIDTH,
        HEIGHT,
        LEFT,
        WIDTH - RIGHT,
        LEFT - 8,
        HEIGHT - 8,
    )


def draw(days: Sequence[Day]) -> Chart:
    """Return the chart of these days, left to right."""
    slot = (WIDTH - LEFT - RIGHT) / len(days)
    middles = [LEFT + slot * (number + 0.5) for number in range(len(days))]
    counts = axis_steps(max((day.total for day in days), default=0))
    count_y = _linear(counts[-1])
    powers = _powers(
        duration
        for day in days
        for times in (day.answer, day.outcome)
        for duration in (times.median, times.maximum)
        if duration is not None
    )
    duration_y = _logarithmic(powers[0], powers[-1])
    offset = min(slot / 5, 6.0)
    label_step = math.ceil(len(days) / MAX_LABELS)
    return Chart(
        days=[
            Label(at=coordinate(middle), text=f"{day.day.day} {day.day:%b}")
            for day, middle in list(zip(days, middles, strict=True))[::label_step]
        ],
        bars=[
            _bar(day, middle, width=min(slot * 0.7, MAX_BAR_WIDTH), y_of=count_y)
            for day, middle in zip(days, middles, strict=True)
            if day.total
        ],
        counts=[Label(at=coordinate(count_y(count)), text=f"{count:,}") for count in counts],
        marks=[
            *_marks(days, [x - offset for x in middles], "answer", y_of=duration_y),
            *_marks(days, [x + offset for x in middles], "outcome", y_of=duration_y),
        ],
        durations=[
            Label(at=coordinate(duration_y(power)), text=duration_text(power)) for power in powers
        ],
    )


def _bar(day: Day, middle: float, *, width: float, y_of: Callable[[float], float]) -> Bar:
    segments, below = [], 0
    for status in OUTCOMES:
        if count := day.counts[status]:
            top, bottom = y_of(below + count), y_of(below)
            segments.append(
                BarSegment(
                    x=coordinate(middle - width / 2),
                    y=coordinate(top),
                    width=coordinate(width),
                    height=coordinate(bottom - top),
                    status=status,
                )
            )
            below += count
    return Bar(day=day, segments=segments)


def _marks(
    days: Sequence[Day], middles: Sequence[float], name: str, *, y_of: Callable[[float], float]
) -> Iterator[DurationMark]:
    for day, x in zip(days, middles, strict=True):
        times = getattr(day, name)
        if times.median is None:
            continue
        y = y_of(times.median)
        r = MARK_RADIUS
        corners = ((x, y - r), (x + r, y), (x, y + r), (x - r, y))
        yield DurationMark(
            day=day,
            name=name,
            times=times,
            x=coordinate(x),
            median=coordinate(y),
            maximum=coordinate(y_of(times.maximum)),
            points=" ".join(f"{coordinate(a)},{coordinate(b)}" for a, b in corners),
        )


def axis_steps(top: int) -> list[int]:
    """Return round numbers from 0 to at least `top`."""
    min_step = max(top, MIN_STEPS) / MIN_STEPS
    power = 10 ** math.floor(math.log10(min_step))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= min_step)
    return [step * number for number in range(math.ceil(max(top, 1) / step) + 1)]


def _powers(durations: Iterable[float]) -> list[float]:
    """Return the powers of ten around all durations, in milliseconds; at least one decade."""
    values = [max(duration, 1.0) for duration in durations] or [10.0, 1000.0]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return [float(10**power) for power in range(low, max(high, low + 1) + 1)]


def _linear(top: float) -> Callable[[float], float]:
    scale = (HEIGHT - TOP - BOTTOM) / top
    return lambda value: HEIGHT - BOTTOM - value * scale


def _logarithmic(low: float, high: float) -> Callable[[float], float]:
    scale = (HEIGHT - TOP - BOTTOM) / math.log10(high / low)
    return lambda value: HEIGHT - BOTTOM - math.log10(max(value, low) / low) * scale


def coordinate(value: float) -> str:
    """Return a coordinate, which no locale may format in its own way."""
    return f"{value:.1f}"
