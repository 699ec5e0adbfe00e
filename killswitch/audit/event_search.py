"""Finds events by several conditions in a long log, page by page.

The databases cannot know which condition selects few events, and may read the whole log to fill a
page. So that condition is looked up first, by its index alone, and the others are compared event by
event.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from django.db.models import Max, Min, Q, QuerySet

from killswitch.audit import chain
from killswitch.audit.models import AuditEvent
from killswitch.audit.review import unreviewed
from killswitch.runtime.lookups import compared

FEW: Final = 30_000  # events that can be compared one by one
MAX_SEARCHED: Final = 50_000  # events in which a text is searched at once: no index finds it


@dataclass(frozen=True, kw_only=True)
class EventSearch:
    """A search by conditions that must all be true."""

    times: Q
    by_name: Sequence[Q]  # on columns that have an index of their own
    others: Q
    others_of_few: Q  # the same for few events, which are compared one by one
    is_unreviewed: bool = False
    has_text: bool = False
    few: int = FEW
    max_searched: int = MAX_SEARCHED

    def part(self, edge: AuditEvent | None = None, *, newest_first: bool = True) -> range | None:
        """Return the numbers of the events to search for a text, None if all can be searched.

        They are those nearest to the edge of a page. The numbers of events have no gaps.
        """
        if not self.has_text or self._are_few:
            return None
        first, last = self._ends if self.times else (1, chain.head().seq)
        if edge and newest_first:
            last = min(last, edge.seq - 1)
        elif edge:
            first = max(first, edge.seq + 1)
        if last - first < self.max_searched:
            return None
        if newest_first:
            return range(last - self.max_searched + 1, last + 1)
        return range(first, first + self.max_searched)

    def page(
        self,
        edge: AuditEvent | None = None,
        *,
        newest_first: bool = True,
        part: range | None = None,
    ) -> QuerySet[AuditEvent]:
        """Return the events before or after the edge of a page, nearest first.

        Without an edge, they begin with the newest. New events do not move such a page.
        """
        side, order = ("lt", "-") if newest_first else ("gt", "")
        within = Q(**{f"seq__{side}": edge.seq}) if edge else Q()
        condition = self._condition(within=within, part=part, in_order=True)
        return AuditEvent.objects.filter(condition).order_by(f"{order}seq")

    def count(self, *, limit: int, part: range | None = None) -> int:
        """Return the number of events, counting only up to the limit."""
        condition = self._condition(within=Q(), part=part, in_order=False)
        return AuditEvent.objects.filter(condition).order_by()[:limit].count()

    def _condition(self, *, within: Q, part: range | None, in_order: bool) -> Q:
        within = self._range & within
        if part:
            within &= Q(seq__gte=part.start, seq__lt=part.stop)
        condition = within & (self.others_of_few if self._are_few or part else self.others)
        if self.times:
            condition &= compared(self.times)
        for named in self.by_name:
            if named == self._rarest:
                condition &= Q(seq__in=_numbers(within & named))
            elif self._are_few or (in_order and self._is_many(named)):
                condition &= compared(named)
            else:
                condition &= named
        if self.is_unreviewed and not self._are_few and condition:
            return condition & Q(seq__in=_numbers(within & unreviewed()))
        return condition & unreviewed() if self.is_unreviewed else condition

    @cached_property
    def _range(self) -> Q:
        """Return the range of numbers that has all events of these times.

        Every index has the numbers, none but one has the times. Numbers rise with time, unless a
        clock was set back.
        """
        if not self.times:
            return Q()
        first, last = self._ends
        return Q(seq__gte=first, seq__lte=last)

    @cached_property
    def _ends(self) -> tuple[int, int]:
        events = AuditEvent.objects.filter(self.times).order_by()
        ends = events.aggregate(first=Min("seq"), last=Max("seq"))
        return ends["first"] or 0, ends["last"] or 0  # no event has the number 0

    @property
    def _are_few(self) -> bool:
        """Return True if the rarest condition, or the times, leave few events to compare."""
        is_short = bool(self.times) and self._ends[1] - self._ends[0] < self.few
        return is_short or self._rarest is not None

    @cached_property
    def _rarest(self) -> Q | None:
        """Return the condition that selects the fewest events, None if none selects few."""
        has_others = bool(self.times or self.others or self.is_unreviewed)
        if len(self.by_name) == 1 and not has_others and not self._is_many(self.by_name[0]):
            return None  # its index has the events in their order
        counts = [_numbers(self._range & named)[: self.few].count() for named in self.by_name]
        fewest = min(counts, default=self.few)
        return self.by_name[counts.index(fewest)] if fewest < self.few else None

    @staticmethod
    def _is_many(named: Q) -> bool:
        """Return True for a condition with several values, whose events no index has in order."""
        pairs = (child for child in named.children if isinstance(child, tuple))
        return any(isinstance(value, list | tuple) for _, value in pairs)


def _numbers(condition: Q) -> QuerySet[AuditEvent, Any]:
    return AuditEvent.objects.filter(condition).order_by().values("seq")
