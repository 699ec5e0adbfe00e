"""Counts the events that were added since a page was shown, for the page's one poller.

The page carries what it knows in one text, `since:count:verified?filter`, and sends it back.
"""

from dataclasses import dataclass, replace
from typing import Final, Self

from django.http import QueryDict

from killswitch.audit import chain
from killswitch.audit.filters import EventFilter
from killswitch.audit.models import Verification
from killswitch.runtime.filter_values import InvalidFilter
from killswitch.runtime.http import parse_id
from killswitch.runtime.text import pluralize_count

MAX_COUNTED: Final = 99


@dataclass(frozen=True, kw_only=True)
class NewEvents:
    """The number of selected events newer than the page, and the verification it shows."""

    selection: EventFilter
    since: int
    count: int = 0
    verified_at: int = 0  # microseconds since the epoch, 0 for never

    @classmethod
    def none_yet(cls, selection: EventFilter) -> Self:
        """Return the state of a new page. Call it before the page's events are read."""
        return cls(selection=selection, since=chain.head().seq, verified_at=_newest_verification())

    @classmethod
    def known(cls, text: str) -> Self | None:
        """Parse the state that a page sent back; return None for an invalid one."""
        numbers, _, query = text.partition("?")
        since, count, verified_at = (*map(parse_id, numbers.split(":")), None, None, None)[:3]
        if since is None or count is None or verified_at is None:
            return None
        try:
            selection = EventFilter.from_query(QueryDict(query))
        except InvalidFilter:
            return None
        return cls(selection=selection, since=since, count=count, verified_at=verified_at)

    def now(self) -> "NewEvents":
        """Return the state of the same page at this moment."""
        newer = self.selection.events(after=self.since).order_by()
        count = newer[: MAX_COUNTED + 1].count()
        return replace(self, count=count, verified_at=_newest_verification())

    @property
    def text(self) -> str:
        """Return the text that the page sends back."""
        return f"{self.since}:{self.count}:{self.verified_at}?{self.selection.to_query()}"

    @property
    def words(self) -> str:
        """Return e.g. "3 new events"."""
        if self.count > MAX_COUNTED:
            return f"{MAX_COUNTED}+ new events"
        return pluralize_count(self.count, "new event")


def _newest_verification() -> int:
    last = Verification.objects.first()
    return round(last.at.timestamp() * 1_000_000) if last else 0
