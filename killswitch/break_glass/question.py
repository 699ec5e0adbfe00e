"""What a break-glass confirmation asks, and what its form sends back. Reads no database."""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from urllib.parse import urlencode

from django.conf import settings
from django.core import signing
from django.http import QueryDict
from django.urls import reverse

from killswitch.break_glass import exchange_snapshot
from killswitch.break_glass.exchange_snapshot import KnownExchange, NoSnapshot, Snapshot

SALT = "killswitch.break_glass.key"
MAX_KEY_AGE_S = 600
MAX_EXCHANGES = 500


class InvalidKey(Exception):
    """The key is missing, too old, or was made for another person or other exchanges."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """Cancel on these exchanges without the log?"""

    exchange_ids: Sequence[str]
    everywhere: bool
    snapshot: Snapshot | None

    @property
    def known(self) -> list[KnownExchange]:
        """Return what the snapshot knows of the exchanges."""
        rows = [self.snapshot.find(name) if self.snapshot else None for name in self.exchange_ids]
        return [row for row in rows if row]

    @property
    def limited(self) -> list[KnownExchange]:
        """Return the exchanges with known limits."""
        return [row for row in self.known if row.caveat]

    @property
    def only(self) -> str:
        """Return the exchange ID of a question about a single one, or ""."""
        return self.exchange_ids[0] if len(self.exchange_ids) == 1 and not self.everywhere else ""

    @property
    def names(self) -> str:
        """Return the exchange IDs, as one text."""
        return ", ".join(self.exchange_ids)

    @property
    def seen_at(self) -> datetime | None:
        """Return the time of the oldest figure in the sum."""
        times = [row.seen_at for row in self.known if row.seen_at and row.open_orders is not None]
        return datetime.fromisoformat(min(times)) if times else None

    @property
    def open_orders(self) -> int | None:
        """Return the sum of the open orders when last known; None if no figure is known."""
        counts = [row.open_orders for row in self.known if row.open_orders is not None]
        return sum(counts) if counts else None

    @property
    def is_partial(self) -> bool:
        """Return True if the figure of some exchange is missing in the sum."""
        counted = sum(row.open_orders is not None for row in self.known)
        return 0 < counted < len(self.exchange_ids)

    @property
    def console_address(self) -> str:
        """Return the address of the console's own confirmation of a cancel on these exchanges."""
        numbers = [row.id for row in self.known]
        if self.everywhere or not numbers:
            return reverse("cancel_all")
        if len(numbers) == 1:
            return reverse("cancel_one", args=numbers)
        return f"{reverse('cancel_all')}?{urlencode({'exchange': numbers}, doseq=True)}"

    def key(self, *, user_id: int) -> str:
        """Return a fresh one-use key for this person and these exchanges."""
        parts = [user_id, _digest(self.exchange_ids), secrets.token_urlsafe(16)]
        return signing.dumps(parts, salt=SALT)


def read_key(key: str, *, user_id: int, exchange_ids: Sequence[str]) -> str:
    """Return the nonce of a key. Raises `InvalidKey`."""
    try:
        signed_user_id, digest, nonce = signing.loads(key[:2000], salt=SALT, max_age=MAX_KEY_AGE_S)
    except (signing.BadSignature, ValueError, TypeError) as error:
        raise InvalidKey from error
    if (signed_user_id, digest) != (user_id, _digest(exchange_ids)):
        raise InvalidKey
    return str(nonce)


def current_snapshot() -> Snapshot | None:
    """Return the exchanges as this host knew them last."""
    try:
        return exchange_snapshot.read(Path(settings.KILLSWITCH_HOME))
    except NoSnapshot:
        return None


def of_everything() -> Question:
    """Ask about all exchanges that were enabled when last known; none without a snapshot."""
    snapshot = current_snapshot()
    rows = snapshot.exchanges if snapshot else ()
    names = [row.exchange_id for row in rows if row.enabled]
    return Question(exchange_ids=tuple(names), everywhere=True, snapshot=snapshot)


def of_ids(exchange_ids: Sequence[str]) -> Question:
    """Ask about the exchanges with these IDs."""
    names = tuple(dict.fromkeys(exchange_ids))[:MAX_EXCHANGES]
    return Question(exchange_ids=names, everywhere=False, snapshot=current_snapshot())


def of_numbers(numbers: Sequence[int], *, group: int | None = None) -> Question:
    """Ask about the exchanges with these numbers in addresses, or those of a group.

    One that the snapshot does not have is left out.
    """
    snapshot = current_snapshot()
    if snapshot and group is not None:
        numbers = snapshot.groups.get(str(group), ())
    rows = snapshot.exchanges if snapshot else ()
    names = tuple(row.exchange_id for row in rows if row.id in set(numbers))
    return Question(exchange_ids=names, everywhere=False, snapshot=snapshot)


def of_form(data: QueryDict) -> Question:
    """Return the question that a form or an address names: some exchanges, or all of them.

    The form of a cancel everywhere names the exchanges as well: they may be others by now.
    """
    names = data.getlist("exchange")
    if not names:
        return of_everything()
    return replace(of_ids(names), everywhere="everywhere" in data)


def _digest(exchange_ids: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(sorted(exchange_ids)).encode()).hexdigest()[:32]
