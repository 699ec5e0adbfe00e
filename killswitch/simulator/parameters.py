"""Takes typed parameters out of a fault that came as JSON, and refuses what it does not know."""

import math
from collections.abc import Mapping, Sequence

_LONGEST_PAUSE = 3600.0
_LARGEST = 512 * 1024 * 1024


class InvalidFault(ValueError):
    """A script that cannot be played; the text says why."""


class Parameters:
    """The parameters of one fault; each is taken by name, what is left over is a mistake."""

    def __init__(self, given: object) -> None:
        if not isinstance(given, Mapping):
            raise InvalidFault(f"a fault is a name or an object, not {given!r:.100}")
        self._given = given
        self._taken: set[object] = set()

    def _take(self, name: str, *, default: object) -> object:
        self._taken.add(name)
        return self._given.get(name, default)

    def text(self, name: str, *, default: str = "") -> str:
        value = self._take(name, default=default)
        if not isinstance(value, str):
            raise InvalidFault(f"{name}: {value!r:.100} is no text")
        return value

    def text_or_none(self, name: str, *, default: str | None = None) -> str | None:
        return None if self._take(name, default=default) is None else self.text(name, default="")

    def one_of(self, name: str, *, allowed: Sequence[str], default: str) -> str:
        value = self.text(name, default=default)
        if value not in allowed:
            raise InvalidFault(f"{name}: {value!r:.100} is none of {', '.join(allowed)}")
        return value

    def flag(self, name: str, *, default: bool = False) -> bool:
        value = self._take(name, default=default)
        if not isinstance(value, bool):
            raise InvalidFault(f"{name}: {value!r:.100} is neither true nor false")
        return value

    def whole(self, name: str, *, default: int, highest: int = _LARGEST) -> int:
        value = self._take(name, default=default)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= highest:
            raise InvalidFault(f"{name}: {value!r:.100} is no whole number from 0 to {highest}")
        return value

    def status(self, *, default: int) -> int:
        """An HTTP status that a client may take for a final answer."""
        status = self.whole("status", default=default, highest=999)
        if status < 200:
            raise InvalidFault(f"status: {status} does not end an answer")
        return status

    def seconds(self, name: str, *, default: float) -> float:
        value = self._take(name, default=default)
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise InvalidFault(f"{name}: {value!r:.100} is no number of seconds")
        if not math.isfinite(value) or not 0 <= value <= _LONGEST_PAUSE:
            raise InvalidFault(f"{name}: {value!r:.100} is not between 0 and {_LONGEST_PAUSE:g} s")
        return float(value)

    def headers(self) -> tuple[tuple[str, str], ...]:
        value = self._take("headers", default={})
        if not isinstance(value, Mapping):
            raise InvalidFault(f"headers: {value!r:.100} is no object")
        for line in (*value.keys(), *value.values()):
            if not isinstance(line, str) or not line.isprintable() or not line.isascii():
                raise InvalidFault(f"headers: {line!r:.100} cannot stand in a header")
        return tuple(value.items())

    def refuse_the_rest(self) -> None:
        if unknown := set(self._given) - self._taken:
            names = ", ".join(sorted(map(repr, unknown)))
            raise InvalidFault(f"{self._given.get('fault')}: no such parameter: {names:.200}")
