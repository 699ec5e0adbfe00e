"""Compares an ID that is typed with those that the EMS lists and those that are set up here.

A mistyped ID looks calm for ever: the EMS lists no open orders of it, so its cancel is confirmed.
"""

import difflib
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from killswitch.ems.exchange_ids import plain
from killswitch.exchanges.models import Exchange, UncoveredExchange

MAX_NEAREST = 3
SIMILAR = 0.8  # difflib's ratio: one letter in five differs


@dataclass(frozen=True, kw_only=True)
class IdCheck:
    """What is known of an ID; `twins` are IDs set up here that look like it."""

    listed: bool
    twins: tuple[str, ...] = ()
    nearest: tuple[str, ...] = ()

    @property
    def is_doubtful(self) -> bool:
        """Return whether it is probably a mistake: adding it takes a second look."""
        return bool(self.twins or self.nearest)


def fold(exchange_id: str) -> str:
    """Return the ID without letter case, accents and separators."""
    text = unicodedata.normalize("NFKD", plain(exchange_id))
    return "".join(character for character in text if character.isalnum())


def listed_ids() -> dict[str, int | None]:
    """Return the IDs that the EMS has listed, with the open orders that it lists now."""
    listed: dict[str, int | None] = dict(
        Exchange.objects.exclude(first_listed_at=None).values_list("exchange_id", "open_orders")
    )
    listed |= dict(UncoveredExchange.objects.values_list("exchange_id", "open_orders"))
    return listed


def check(exchange_id: str, *, of: int | None = None) -> IdCheck:
    """Compare an ID that is to be added with all others, or the new ID of this row."""
    folded, listed = fold(exchange_id), listed_ids()
    others = Exchange.objects.exclude(exchange_id=exchange_id)
    if of is not None:
        others = others.exclude(pk=of)
    ids = list(others.order_by("exchange_id").values_list("exchange_id", flat=True))
    twins = tuple(other for other in ids if fold(other) == folded)
    if exchange_id in listed:
        return IdCheck(listed=True, twins=twins)
    return IdCheck(listed=False, twins=twins, nearest=_nearest(exchange_id, listed))


def _nearest(exchange_id: str, listed: Iterable[str]) -> tuple[str, ...]:
    """Return the listed IDs that may be meant, the most similar one first.

    Those with the same spelling in front of the account tag are other accounts of one exchange,
    unless the tags are nearly the same.
    """
    folded = fold(exchange_id)
    venue = exchange_id.partition("/")[0]
    scores = []
    for other in listed:
        score = difflib.SequenceMatcher(None, folded, fold(other)).ratio()
        other_venue = other.partition("/")[0]
        if venue != other_venue and fold(venue) == fold(other_venue):
            score = max(score, SIMILAR)
        elif exchange_id == other_venue:
            score = max(score, SIMILAR)  # the account tag is missing
        scores.append((score, other))
    likely = [(score, other) for score, other in scores if score >= SIMILAR]
    return tuple(other for _, other in sorted(likely, key=lambda pair: (-pair[0], pair[1])))[
        :MAX_NEAREST
    ]


def why_fixed(exchange: Exchange) -> str:
    """Return why the ID of an exchange cannot be corrected, empty if it can.

    The requests and the log name an exchange by its ID, so it can be corrected only before any use.
    """
    if exchange.first_listed_at is not None:
        return "The EMS lists orders under this ID."
    if exchange.requests.exists() or exchange.holds.exists():
        return "Requests in the log name this ID."
    if exchange.groups.exists():
        return "It is in a group. Remove it from the group to correct its ID."
    if exchange.enabled:
        return "The EMS has never listed it. If it is misspelled, disable it to correct the ID."
    return ""
