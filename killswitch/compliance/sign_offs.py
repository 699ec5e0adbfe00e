"""Reads the periods that were signed off, from their events alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

from django.db.models import QuerySet

from killswitch.audit.event_data import EventData, read
from killswitch.audit.models import AuditEvent, Kind

FEW: Final = 50  # periods that are listed


@dataclass(frozen=True, kw_only=True)
class SignOff:
    """A period that was signed off, as its event says it."""

    event: AuditEvent
    data: EventData

    @classmethod
    def of(cls, event: AuditEvent) -> Self:
        return cls(event=event, data=read(event))

    @property
    def from_words(self) -> str:
        return _words(self.data.text("from"))

    @property
    def to_words(self) -> str:
        """The end itself belongs to the next period."""
        return _words(self.data.text("to"))

    @property
    def numbers(self) -> str:
        first, last = (self.data.number(name) or 0 for name in ("first_seq", "last_seq"))
        return f"{first:,} to {last:,} ({self.data.number('events') or 0:,})"

    @property
    def note(self) -> str:
        return self.data.text("note")

    @property
    def head(self) -> str:
        """The hash that was signed."""
        return self.data.text("head")

    @property
    def last_seq(self) -> int:
        return self.data.number("last_seq") or 0

    @property
    def unreviewed(self) -> int:
        return self.data.inner("review").number("unreviewed") or 0

    @property
    def verified(self) -> str:
        """What the newest verification had found when this was signed."""
        last = self.data.inner("verification")
        if not last.facts:
            return "never"
        found = "nothing wrong" if last.is_true("ok") else f"a fault: {last.text('reason')}"
        return f"{found}, up to event {last.text('head_seq')}, at {_words(last.text('at'))}"

    @property
    def counts(self) -> Mapping[str, Mapping[str, int]]:
        """By `kinds`, `outcomes` and `review`."""
        return {name: _numbers(self.data.inner(name)) for name in ("kinds", "outcomes", "review")}

    @property
    def still_holds(self) -> bool:
        """Whether the log still has, at its place, the event whose hash was signed."""
        hashes = AuditEvent.objects.filter(seq=self.last_seq).values_list("hash", flat=True)
        return list(hashes) == [self.head]


def signed() -> list[SignOff]:
    """The periods signed off, newest first."""
    return [SignOff.of(event) for event in newest()[:FEW]]


def newest() -> QuerySet[AuditEvent]:
    """The events, newest first."""
    return AuditEvent.objects.filter(kind=Kind.PERIOD_SIGNED_OFF).order_by("-seq")


def _words(instant_text: str) -> str:
    """`2026-11-22T00:00:00.000000Z` as people read it; a whole second without its fraction."""
    return instant_text.replace("T", " ").removesuffix("Z").removesuffix(".000000")


def _numbers(data: EventData) -> dict[str, int]:
    """Only whole numbers, whatever else stands there."""
    return {name: count for name in data.facts if (count := data.number(name)) is not None}
