"""Mistakes in `KILLSWITCH_EXCHANGES`: ids are separated by white space, and by nothing else.

`KRAKEN,BINANCE` would be one exchange that no cancel reaches, but `KRAKEN,JOHN` may be an id with
an account tag. What cannot be told apart is said; only what can be no id is refused.
"""

import re
from collections.abc import Sequence

from killswitch.supervision.errors import CannotStart

HINT = "separate them by white space, without quotes"
QUOTES = "\"'`"
SEPARATORS = re.compile(r"[,;]")
PLAIN_ID = re.compile(r"[A-Z0-9]{3,}")


def check(exchange_ids: Sequence[str]) -> None:
    """Raise `CannotStart` for a quote, and for a comma or semicolon with nothing beside it."""
    for exchange_id in exchange_ids:
        if any(sign in exchange_id for sign in QUOTES) or not all(SEPARATORS.split(exchange_id)):
            raise CannotStart(
                f"KILLSWITCH_EXCHANGES: {exchange_id[:60]} cannot be an exchange id; if these are"
                f" several, {HINT}."
            )


def warnings(exchange_ids: Sequence[str]) -> list[str]:
    """A sentence for each id that looks like several."""
    return [
        f"KILLSWITCH_EXCHANGES: {exchange_id} is one exchange id with a tag; if these are several"
        f" exchanges, {HINT}."
        for exchange_id in exchange_ids
        if _may_be_several(exchange_id)
    ]


def _may_be_several(exchange_id: str) -> bool:
    parts = SEPARATORS.split(exchange_id)
    return len(parts) > 1 and all(PLAIN_ID.fullmatch(part) for part in parts)
