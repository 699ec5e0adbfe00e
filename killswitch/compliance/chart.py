"""Draws the outcomes of days as plain shapes, which a template writes as SVG.

Only numbers and class names leave this module: colours, and everything else that a strict content
security policy forbids inline, are in the style sheet.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from killswitch.compliance.outcomes import STATUSES, Day

WIDTH: Final = 960
HEIGHT: Final = 220
LEFT: Final = 56
RIGHT: Final = 8
TOP: Final = 12
BOTTOM: Final = 28
WIDEST_BAR: Final = 26.0
MOST_LABELS: Final = 10
FEWEST_STEPS: Final = 4
MARK: Final = 4.5  # half of a mark's height


@dataclass(frozen=True, kw_only=True)
class BarSegment:
    """A part of a bar: its corner, its size, and what it stands for."""

    x: str
    y: str
    width: str
    height: str
    status: str


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A day's bar from the bottom up."""

    day: Day
    boxes: Sequence[BarSegment]


@dataclass(frozen=True, kw_only=True)
class DurationMark:
    """The middle and the longest duration of a day: a mark, and a line that leads up from it."""

    day: Day
    x: str
    median: str
    longest: str
    points: str  # of a mark with four corners


@dataclass(frozen=True, kw_only=True)
class Label:
    """A word at an axis."""

    at: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Both drawings share their days, and so their horizontal axis."""

    days: Sequence[Label]
    bars: Sequence[Bar]
    counts: Sequence[Label]
    answers: Sequence[DurationMark]
    outcomes: Sequence[DurationMark]
    durations: Sequence[Label]

    # Of the drawing itself, for the template.
    width, height, left, right, before, under = (
        WIDTH,
        HEIGHT,
        LEFT,
        WIDTH - RIGHT,
        LEFT - 8,
        HEIGHT - 8,
    )


def draw(days: Sequence[Day]) -> Chart:
    """Days beside each other, as many as there are."""
    slot = (WIDTH - LEFT - RIGHT) / len(days)
    middles = [LEFT + slot * (place + 0.5) for place in range(len(days))]
    top = max((day.total for day in days), default=0)
    counts = _steps(top)
    upward = _linear(counts[-1])
    times = [each for day in days for each in _durations(day)]
    powers = _powers(times)
    rising = _logarithmic(powers[0], powers[-1])
    apart = min(slot / 5, 6.0)
    return Chart(
        days=list(_day_labels(days, middles)),
        bars=[
            _bar(day, middle, width=min(slot * 0.7, WIDEST_BAR), height_of=upward)
            for day, middle in zip(days, middles, strict=True)
            if day.total
        ],
        counts=[_label(upward(count), f"{count:,}") for count in counts],
        answers=list(_spans(days, [x - apart for x in middles], "answer", place=rising)),
        outcomes=list(_spans(days, [x + apart for x in middles], "outcome", place=rising)),
        durations=[_label(rising(power), duration_text(power)) for power in powers],
    )


def duration_text(milliseconds: float) -> str:
    """A duration that a person reads at once, e.g. "212 ms", "11.8 s", "1 h 4 min"."""
    seconds = milliseconds / 1000
    if seconds < 1:
        return f"{milliseconds:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"


def _durations(day: Day) -> list[float]:
    every = (day.answer.median, day.answer.longest, day.outcome.median, day.outcome.longest)
    return [each for each in every if each is not None]


def _bar(day: Day, middle: float, *, width: float, height_of: Callable[[float], float]) -> Bar:
    boxes, below = [], 0
    for status in STATUSES:
        if count := day.counts[status]:
            top, bottom = height_of(below + count), height_of(below)
            boxes.append(
                BarSegment(
                    x=_number(middle - width / 2),
                    y=_number(top),
                    width=_number(width),
                    height=_number(bottom - top),
                    status=status,
                )
            )
            below += count
    return Bar(day=day, boxes=boxes)


def _spans(
    days: Sequence[Day], middles: Sequence[float], what: str, *, place: Callable[[float], float]
) -> Iterator[DurationMark]:
    for day, x in zip(days, middles, strict=True):
        times = getattr(day, what)
        if times.median is None:
            continue
        y = place(times.median)
        corners = ((x, y - MARK), (x + MARK, y), (x, y + MARK), (x - MARK, y))
        yield DurationMark(
            day=day,
            x=_number(x),
            median=_number(y),
            longest=_number(place(times.longest)),
            points=" ".join(f"{_number(a)},{_number(b)}" for a, b in corners),
        )


def _day_labels(days: Sequence[Day], middles: Sequence[float]) -> Iterator[Label]:
    every = math.ceil(len(days) / MOST_LABELS)
    for day, middle in list(zip(days, middles, strict=True))[::every]:
        yield Label(at=_number(middle), text=f"{day.day.day} {day.day:%b}")


def _steps(top: int) -> list[int]:
    """Round numbers from nothing to at least `top`."""
    wanted = max(top, FEWEST_STEPS) / FEWEST_STEPS
    power = 10 ** math.floor(math.log10(wanted))
    step = next(each * power for each in (1, 2, 5, 10) if each * power >= wanted)
    return [step * number for number in range(math.ceil(max(top, 1) / step) + 1)]


def _powers(times: Iterable[float]) -> list[float]:
    """Powers of ten around all durations, in milliseconds; at least one decade."""
    known = [max(each, 1.0) for each in times] or [10.0, 1000.0]
    low, high = math.floor(math.log10(min(known))), math.ceil(math.log10(max(known)))
    return [float(10**power) for power in range(low, max(high, low + 1) + 1)]


def _linear(most: float) -> Callable[[float], float]:
    scale = (HEIGHT - TOP - BOTTOM) / most
    return lambda value: HEIGHT - BOTTOM - value * scale


def _logarithmic(low: float, high: float) -> Callable[[float], float]:
    scale = (HEIGHT - TOP - BOTTOM) / math.log10(high / low)
    return lambda value: HEIGHT - BOTTOM - math.log10(max(value, low) / low) * scale


def _label(at: float, text: str) -> Label:
    return Label(at=_number(at), text=text)


def _number(value: float) -> str:
    """Never in the manner of a language: these are coordinates."""
    return f"{value:.1f}"
