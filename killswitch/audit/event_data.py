"""Reads an event's data for people. Whatever stands there, it never raises."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from killswitch.audit.models import AuditEvent


@dataclass(frozen=True, kw_only=True)
class EventData:
    """The facts of an event by their names; one that is missing or odd reads as nothing."""

    facts: Mapping[str, Any]

    def text(self, name: str) -> str:
        """A text or a number as text, else nothing."""
        value = self.facts.get(name)
        return str(value) if isinstance(value, str | int) and value is not True else ""

    def number(self, name: str) -> int | None:
        value = self.facts.get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def numbers(self, name: str) -> list[int]:
        return [each for each in self.items(name) if type(each) is int]

    def items(self, name: str) -> list[Any]:
        value = self.facts.get(name)
        return value if isinstance(value, list) else []

    def inner(self, name: str) -> "EventData":
        """Facts within a fact."""
        value = self.facts.get(name)
        return EventData(facts=value if isinstance(value, dict) else {})

    def is_true(self, name: str) -> bool:
        return self.facts.get(name) is True


def read(event: AuditEvent) -> EventData:
    """The data of an event, nothing when it cannot be read."""
    try:
        facts = json.loads(event.data)
    except (ValueError, RecursionError):
        facts = {}
    return EventData(facts=facts if isinstance(facts, dict) else {})


def laid_out(event: AuditEvent) -> str:
    """The data with line breaks for reading, or its canonical text when it cannot be laid out."""
    try:
        text = json.dumps(json.loads(event.data), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        text = event.data
    # Halves of surrogate pairs are valid escapes in JSON, but not text that can be sent.
    return text.encode("utf-8", "backslashreplace").decode()
