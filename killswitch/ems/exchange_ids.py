"""Ids of exchanges as the EMS sends them: which text is one, and which two may mean the same.

Ids are compared whole. The functions here only say when a comparison proves nothing.
"""

import re
import unicodedata
from functools import lru_cache
from urllib.parse import unquote

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


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
