"""Lays out the counts of open orders of the last hours as plain shapes for an SVG.

One unit is one minute from left to right and one hundredth of the height. The page stretches both.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Self

from killswitch.compliance.chart import axis_steps, coordinate
from killswitch.exchanges.models import Exchange, OpenOrderSample

HOURS: Final = (6, 24)
MINUTE: Final = timedelta(minutes=1)
HEIGHT: Final = 100
MIN_HEIGHT: Final = 2.0  # of the line of a count that did not change
LABELS: Final = 7
WRITTEN_AFTER_S: Final = 30  # within which the observer has written a minute that is over
NEWS_AFTER: Final = timedelta(minutes=2)  # after which a page is drawn again without a new count


@dataclass(frozen=True, kw_only=True)
class Span:
    """Minutes in a row with the same lowest and highest count; None for those without a read."""

    start: datetime
    end: datetime
    lowest: int | None
    highest: int | None
    x: int
    width: int
    top: str  # of the range between both
    height: str
    floor_top: str  # of the area below the lowest count
    floor: str


@dataclass(frozen=True, kw_only=True)
class OpenOrderChart:
    """The chart of one exchange, which ends with a minute that is over."""

    exchange: Exchange
    hours: int
    start: datetime
    end: datetime
    spans: Sequence[Span]
    counts: Sequence[int]  # the labels of the vertical axis, the highest first
    times: Sequence[datetime]

    all_hours = HOURS
    height = HEIGHT

    @classmethod
    def of(cls, exchange: Exchange, *, hours: int, now: datetime | None = None) -> Self:
        """Read the chart in one query."""
        now = now or datetime.now(UTC)
        end = now.replace(second=0, microsecond=0)
        start = end - timedelta(hours=hours)
        samples = list(exchange.samples.filter(minute__gte=start - MINUTE, minute__lt=end))
        if (now - end).total_seconds() < WRITTEN_AFTER_S and not (
            samples and samples[-1].minute == end - MINUTE
        ):
            start, end = start - MINUTE, end - MINUTE  # the last minute may not be written yet
        samples = [sample for sample in samples if sample.minute >= start]
        counts = axis_steps(max((sample.highest for sample in samples), default=0))
        return cls(
            exchange=exchange,
            hours=hours,
            start=start,
            end=end,
            spans=_spans(samples, start=start, end=end, top=counts[-1]),
            counts=counts[::-1],
            times=[start + (end - start) / (LABELS - 1) * number for number in range(LABELS)],
        )

    @property
    def width(self) -> int:
        return self.hours * 60

    @property
    def name(self) -> str:
        """Return under which name the poller asks for a newer chart."""
        return f"chart:{self.exchange.pk}:{self.hours}:{round(self.end.timestamp())}"

    @property
    def has_counts(self) -> bool:
        return any(span.lowest is not None for span in self.spans)

    @property
    def minutes_without_read(self) -> int:
        return sum(span.width for span in self.spans if span.lowest is None)

    @property
    def lowest(self) -> int:
        return min(span.lowest for span in self.spans if span.lowest is not None)

    @property
    def highest(self) -> int:
        return max(span.highest for span in self.spans if span.highest is not None)


def is_outdated(exchange_pk: int, *, end: datetime, now: datetime | None = None) -> bool:
    """Return whether a chart that ends then has a newer one; asks the database at most once."""
    now = now or datetime.now(UTC)
    if now - end >= NEWS_AFTER:
        return True
    samples = OpenOrderSample.objects.filter(configured_exchange=exchange_pk, minute__gte=end)
    return now - end >= MINUTE and samples.exists()


def _spans(
    samples: Sequence[OpenOrderSample], *, start: datetime, end: datetime, top: int
) -> list[Span]:
    """Return the minutes from start to end, those alike in a row as one."""
    ranges = {sample.minute: (sample.lowest, sample.highest) for sample in samples}
    minutes = [start + MINUTE * number for number in range((end - start) // MINUTE)]
    spans: list[Span] = []
    first = 0
    for number, minute in enumerate(minutes, start=1):
        counts = ranges.get(minute)
        if number < len(minutes) and ranges.get(minutes[number]) == counts:
            continue
        lowest, highest = counts or (None, None)
        floor = HEIGHT * (lowest or 0) / top
        height = max(HEIGHT * (highest or 0) / top - floor, MIN_HEIGHT)
        spans.append(
            Span(
                start=minutes[first],
                end=minute + MINUTE,
                lowest=lowest,
                highest=highest,
                x=first,
                width=number - first,
                top=coordinate(max(HEIGHT - floor - height, 0)),
                height=coordinate(height),
                floor_top=coordinate(HEIGHT - floor),
                floor=coordinate(floor),
            )
        )
        first = number
    return spans
