"""Reads an event's data for people; it never raises."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

# What `json.loads` calls, after it has looked for white space around the text.
_decode = json.JSONDecoder().raw_decode


class HasData(Protocol):
    """An event, or some of its columns."""

    @property
    def data(self) -> str: ...


@dataclass(frozen=True, kw_only=True)
class EventData:
    """An event's data by key. A missing value, or one of another type, reads as empty."""

    facts: Mapping[str, Any]

    def text(self, name: str) -> str:
        """Return a string, or a number as a string."""
        value = self.facts.get(name)
        return str(value) if isinstance(value, str | int) and value is not True else ""

    def number(self, name: str) -> int | None:
        value = self.facts.get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def numbers(self, name: str) -> list[int]:
        return [item for item in self.items(name) if type(item) is int]

    def items(self, name: str) -> list[Any]:
        value = self.facts.get(name)
        return value if isinstance(value, list) else []

    def inner(self, name: str) -> "EventData":
        """Return a nested object."""
        value = self.facts.get(name)
        return EventData(facts=value if isinstance(value, dict) else {})

    def is_true(self, name: str) -> bool:
        return self.facts.get(name) is True


def read(event: HasData) -> EventData:
    """Return the data of an event, empty if it cannot be read."""
    return EventData(facts=parse(event.data))


def parse(text: str) -> dict[str, Any]:
    """Return the JSON object in this text, empty if the text is not one."""
    try:
        value, end = _decode(text) if text.startswith("{") else (None, -1)
        if end != len(text):
            value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def laid_out(event: HasData) -> str:
    """Return the data as indented JSON, or as it is stored if it cannot be parsed."""
    try:
        text = json.dumps(json.loads(event.data), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        text = event.data
    # JSON can escape half a surrogate pair, which cannot be sent as UTF-8.
    return text.encode("utf-8", "backslashreplace").decode()
