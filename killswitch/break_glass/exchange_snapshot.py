"""The exchanges as this host knew them last, in a file: for when the database cannot be read.

The time of the file is when the registry was last seen to be so; its content is replaced only when
it has changed.
"""

import json
import math
import operator
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from killswitch.audit import canonical_json
from killswitch.runtime.files import read_regular, replace_file

FILE = "break_glass_exchanges.json"
MAX_NUMBER = 2**31 - 1  # that both databases can hold as a number of orders


class NoSnapshot(Exception):
    """The file is missing or cannot be read; the message says which."""


@dataclass(frozen=True, kw_only=True)
class KnownExchange:
    """One exchange of the file. `id` is its number in addresses."""

    id: int
    exchange_id: str
    name: str
    enabled: bool
    caveat: str
    ever_listed: bool
    open_orders: int | None
    seen_at: str | None  # UTC; when the figure was read


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The exchanges, and when the registry was last seen to be so."""

    exchanges: Sequence[KnownExchange]
    groups: Mapping[str, Sequence[int]]  # the numbers of their exchanges, by the group's number
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def age_s(self) -> float:
        return max(0.0, time.time() - self.at.timestamp())

    def find(self, exchange_id: str) -> KnownExchange | None:
        """Return the exchange with exactly this ID."""
        return next((row for row in self.exchanges if row.exchange_id == exchange_id), None)


def write(home: Path, snapshot: Snapshot) -> None:
    """Replace the file, or only renew its time if it has this content. Raises `OSError`."""
    document = {
        "exchanges": [asdict(exchange) for exchange in snapshot.exchanges],
        "groups": dict(snapshot.groups),
    }
    content = canonical_json.encode(document).encode() + b"\n"
    path = home / FILE
    with suppress(OSError):
        if read_regular(path) == content:
            os.utime(path)
            return
    replace_file(path, content)


def file_age_s(home: Path) -> float:
    """Return how long ago a process of this host has seen the registry; infinity if none has."""
    try:
        return max(0.0, time.time() - (home / FILE).stat().st_mtime)
    except OSError:
        return math.inf


def read(home: Path) -> Snapshot:
    """Return what was written last. Raises `NoSnapshot`."""
    try:
        path = home / FILE
        content: dict[str, Any] = json.loads(read_regular(path))
        return Snapshot(
            exchanges=tuple(_known(row) for row in content["exchanges"]),
            groups={str(group): list(ids) for group, ids in content["groups"].items()},
            at=datetime.fromtimestamp(path.stat().st_mtime, UTC),
        )
    except FileNotFoundError:
        raise NoSnapshot(f"there is no file {FILE}") from None
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise NoSnapshot(f"{FILE} cannot be read ({type(error).__name__})") from error


def _known(row: Mapping[str, Any]) -> KnownExchange:
    """Return an exchange of the file. Raises ValueError and TypeError for any other kind of row."""
    known = KnownExchange(**row)
    for text in (known.exchange_id, known.name, known.caveat):
        str.encode(text)  # half a surrogate pair could be neither journaled nor shown
    if known.seen_at is not None and datetime.fromisoformat(known.seen_at).tzinfo is None:
        raise ValueError("a time without its zone")
    numbers = (known.id, known.open_orders or 0)
    if not all(0 <= operator.index(number) <= MAX_NUMBER for number in numbers):
        raise ValueError("a number that the database cannot hold")
    return known
