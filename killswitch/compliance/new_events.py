"""What came into the log since a page was shown: asked by the page's one poller.

The page carries what it knows in one text, `since:count:verified?filter`, and sends it back.
"""

from dataclasses import dataclass, replace
from typing import Final, Self

from django.http import QueryDict

from killswitch.audit import chain
from killswitch.audit.filters import EventFilter, InvalidFilter
from killswitch.audit.models import AuditEvent
from killswitch.audit.verification import last_result
from killswitch.compliance.log_page import parse_seq

MAX_COUNTED: Final = 99  # new events are counted no further


@dataclass(frozen=True, kw_only=True)
class NewEvents:
    """How many selected events are newer than the page, and which verification it shows."""

    selection: EventFilter
    since: int
    count: int = 0
    verified_at: int = 0  # microseconds since the epoch, 0 for never

    @classmethod
    def none_yet(cls, selection: EventFilter) -> Self:
        """For a page that is about to be read: take it before the page's events."""
        return cls(selection=selection, since=chain.head().seq, verified_at=_newest_verification())

    @classmethod
    def known(cls, text: str) -> Self | None:
        """What a page says that it knows; nothing, when it says nonsense."""
        numbers, _, query = text.partition("?")
        since, count, verified_at = (*map(parse_seq, numbers.split(":")), None, None, None)[:3]
        if since is None or count is None or verified_at is None:
            return None
        try:
            selection = EventFilter.from_query(QueryDict(query))
        except InvalidFilter:
            return None
        return cls(selection=selection, since=since, count=count, verified_at=verified_at)

    def now(self) -> "NewEvents":
        """The same page at this moment."""
        newer = AuditEvent.objects.filter(seq__gt=self.since)
        count = self.selection.filter(newer).order_by()[: MAX_COUNTED + 1].count()
        return replace(self, count=count, verified_at=_newest_verification())

    @property
    def text(self) -> str:
        """What the page sends back."""
        return f"{self.since}:{self.count}:{self.verified_at}?{self.selection.to_query()}"

    @property
    def words(self) -> str:
        """E.g. "3 new events"."""
        shown = f"{MAX_COUNTED}+" if self.count > MAX_COUNTED else str(self.count)
        return f"{shown} new event{'' if self.count == 1 else 's'}"


def _newest_verification() -> int:
    last = last_result.get()
    return round(last.at.timestamp() * 1_000_000) if last else 0
