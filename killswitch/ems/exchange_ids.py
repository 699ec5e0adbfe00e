"""Ids of exchanges: which text is one, and which two of the EMS may mean the same.

Ids are compared whole. The functions here only say when a comparison proves nothing.
"""

import re
import unicodedata
from functools import lru_cache
from urllib.parse import unquote

MAX_ID_CHARS = 200

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class InvalidExchangeId(ValueError):
    """The text cannot be the ID of an exchange."""


def check_exchange_id(exchange_id: str) -> None:
    """Raise `InvalidExchangeId` for an ID that looks like another one on the screen."""
    if not exchange_id:
        raise InvalidExchangeId("an exchange ID is missing")
    if len(exchange_id) > MAX_ID_CHARS:
        raise InvalidExchangeId(
            f"the exchange ID {exchange_id[:20]!r}… is longer than {MAX_ID_CHARS} characters"
        )
    # Control characters and changes of the writing direction are not printable.
    if not exchange_id.isprintable() or any(character.isspace() for character in exchange_id):
        raise InvalidExchangeId(
            f"the exchange ID {exchange_id!r} contains spaces or invisible characters"
        )


def may_be_another_spelling(owner: str, *, of: str | None) -> bool:
    """Compare loosely: ids are compared whole, but the EMS may not always spell them alike."""
    return of is not None and owner != of and plain(owner) == plain(of)


@lru_cache(maxsize=10_000)
def plain(exchange_id: str) -> str:
    """Return the id without its variations: case, widths, quotes, invisible characters, %-codes."""
    while (text := unquote(exchange_id)) != exchange_id:
        exchange_id = text
    text = unicodedata.normalize("NFKC", exchange_id).casefold().strip("\"'`")
    return "".join(
        character for character in text if character.isprintable() and not character.isspace()
    )


def venue(exchange_id: str) -> str:
    """Return the id without its account tag, which follows the first other character."""
    return re.split(r"[^a-z0-9]", exchange_id.strip("\"'`").casefold(), maxsplit=1)[0]


def as_id(value: object) -> str | None:
    """Return an id that was sent as text, None for anything else.

    A `NumberText` was sent as a number. A lone surrogate stands for a byte that is not UTF-8.
    """
    if type(value) is not str or not value:
        return None
    return value if value.isascii() or not _LONE_SURROGATE.search(value) else None
