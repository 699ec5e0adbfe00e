"""Typed parameters out of a fault that came as JSON; unknown ones are an error."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

_MAX_PAUSE_S = 3600.0
_MAX_NUMBER = 512 * 1024 * 1024


class InvalidFault(ValueError):
    """A script that cannot be used; the text says why."""


class Parameters:
    """The parameters of one fault: each is taken by name, and a remaining one is an error."""

    def __init__(self, values: object) -> None:
        if not isinstance(values, Mapping):
            raise InvalidFault(f"a fault is a name or an object, not {values!r:.100}")
        self._values = values
        self._names_used: set[object] = set()

    def value(self, name: str, *, default: object = None) -> Any:
        """Return the parameter as it came."""
        self._names_used.add(name)
        return self._values.get(name, default)

    def text(self, name: str, *, default: str = "") -> str:
        value = self.value(name, default=default)
        if not isinstance(value, str):
            raise InvalidFault(f"{name}: {value!r:.100} is not text")
        return value

    def text_or_none(self, name: str, *, default: str | None = None) -> str | None:
        value = self.value(name, default=default)
        return None if value is None else self.text(name, default=value)

    def texts(self, name: str) -> list[str]:
        value = self.value(name)
        if not isinstance(value, list) or not value:
            raise InvalidFault(f"{name}: {value!r:.100} is not a list of texts")
        if wrong := [item for item in value if not isinstance(item, str) or not item]:
            raise InvalidFault(f"{name}: {wrong[0]!r:.100} is not a text")
        return value

    def one_of(self, name: str, *, allowed: Sequence[str], default: str) -> str:
        value = self.text(name, default=default)
        if value not in allowed:
            raise InvalidFault(f"{name}: {value!r:.100} is not one of {', '.join(allowed)}")
        return value

    def flag(self, name: str, *, default: bool = False) -> bool:
        value = self.value(name, default=default)
        if not isinstance(value, bool):
            raise InvalidFault(f"{name}: {value!r:.100} is neither true nor false")
        return value

    def whole(self, name: str, *, default: int, highest: int = _MAX_NUMBER) -> int:
        value = self.value(name, default=default)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= highest:
            raise InvalidFault(f"{name}: {value!r:.100} is not a whole number from 0 to {highest}")
        return value

    def status(self, *, default: int) -> int:
        """Return an HTTP status that is a final answer to a client."""
        status = self.whole("status", default=default, highest=999)
        if status < 200:
            raise InvalidFault(f"status: {status} does not end an answer")
        return status

    def seconds(self, name: str, *, default: float) -> float:
        value = self.value(name, default=default)
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise InvalidFault(f"{name}: {value!r:.100} is not a number of seconds")
        if not math.isfinite(value) or not 0 <= value <= _MAX_PAUSE_S:
            raise InvalidFault(f"{name}: {value!r:.100} is not between 0 and {_MAX_PAUSE_S:g} s")
        return float(value)

    def headers(self) -> tuple[tuple[str, str], ...]:
        value = self.value("headers", default={})
        if not isinstance(value, Mapping):
            raise InvalidFault(f"headers: {value!r:.100} is not an object")
        for line in (*value.keys(), *value.values()):
            if not isinstance(line, str) or not line.isprintable() or not line.isascii():
                raise InvalidFault(f"headers: {line!r:.100} cannot be sent in a header")
        return tuple(value.items())

    def reject_unknown(self, taker: str) -> None:
        if unknown_names := set(self._values) - self._names_used:
            names = ", ".join(sorted(map(repr, unknown_names)))
            raise InvalidFault(f"{taker}: no such parameter: {names:.200}")
