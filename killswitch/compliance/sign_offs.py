"""Signed-off periods, read from their events alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

from killswitch.audit.event_reader import EventData, read
from killswitch.audit.models import AuditEvent, EventKind
from killswitch.audit.verification.explanations import with_meaning

MAX_LISTED: Final = 50


@dataclass(frozen=True, kw_only=True)
class SignOff:
    """A signed-off period, as its event records it."""

    event: AuditEvent
    data: EventData

    @classmethod
    def of(cls, event: AuditEvent) -> Self:
        return cls(event=event, data=read(event))

    @property
    def from_words(self) -> str:
        return _time_text(self.data.text("from"))

    @property
    def to_words(self) -> str:
        """Return the end, which itself belongs to the next period."""
        return _time_text(self.data.text("to"))

    @property
    def numbers(self) -> str:
        first, last = (self.data.number(name) or 0 for name in ("first_seq", "last_seq"))
        return f"{first} to {last} ({self.data.number('events') or 0:,})"

    @property
    def note(self) -> str:
        return self.data.text("note")

    @property
    def head(self) -> str:
        """Return the hash that was signed off."""
        return self.data.text("head")

    @property
    def last_seq(self) -> int:
        return self.data.number("last_seq") or 0

    @property
    def unreviewed(self) -> int:
        return self.data.inner("review").number("unreviewed") or 0

    @property
    def verified(self) -> str:
        """Return the result of the latest verification before this was signed off."""
        last = self.data.inner("verification")
        if not last.facts:
            return "not verified"
        at = f"up to event {last.text('head_seq')}, at {_time_text(last.text('at'))} UTC"
        if last.is_true("ok"):
            return f"no problem found, {at}"
        return f"problem found, {at}. {with_meaning(last.text('reason'))}"

    @property
    def counts(self) -> Mapping[str, Mapping[str, int]]:
        """Return the numbers of events by `kinds`, `outcomes`, `hold_outcomes` and `review`."""
        counts = {}
        for name in ("kinds", "outcomes", "hold_outcomes", "review"):
            data = self.data.inner(name)
            numbers = {key: data.number(key) for key in data.facts}
            counts[name] = {key: count for key, count in numbers.items() if count is not None}
        return counts

    @property
    def not_confirmed(self) -> int | None:
        """Return how many requests were not confirmed; None for an earlier version's sign-off."""
        return self.data.number("not_confirmed")

    @property
    def is_intact(self) -> bool:
        """Return whether the last event of the period still has the hash that was signed off."""
        hashes = AuditEvent.objects.filter(seq=self.last_seq).values_list("hash", flat=True)
        return list(hashes) == [self.head]


def latest_sign_offs() -> list[SignOff]:
    """Return the signed-off periods, newest first."""
    events = AuditEvent.objects.filter(kind=EventKind.PERIOD_SIGNED_OFF).order_by("-seq")
    return [SignOff.of(event) for event in events[:MAX_LISTED]]


def _time_text(utc_text: str) -> str:
    """Return e.g. `2026-11-22 00:00:00` for `2026-11-22T00:00:00.000000Z`."""
    return utc_text.replace("T", " ").removesuffix("Z").removesuffix(".000000")
