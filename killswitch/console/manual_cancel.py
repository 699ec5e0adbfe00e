"""How to cancel without this console: the lines to type when it cannot record a press."""

import json
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from django.conf import settings

from killswitch.exchanges.models import Exchange

# What this process last showed: when the database is gone, these are the ids still known.
_shown: list[tuple[str, ...]] = [()]


@dataclass(frozen=True, kw_only=True)
class Line:
    """One command and the exchange it cancels on."""

    exchange_id: str
    command: str


def remember(exchanges: Iterable[Exchange]) -> None:
    """Keep the ids for the day on which they cannot be read."""
    _shown[0] = tuple(exchange.exchange_id for exchange in exchanges)


def lines(exchange_ids: Iterable[str] = ()) -> list[Line]:
    """A command for each exchange; for every one last shown, when none is named."""
    ids = list(exchange_ids) or list(_shown[0]) or ["EXCHANGE_ID"]
    return [Line(exchange_id=each, command=command(each)) for each in ids]


def command(exchange_id: str) -> str:
    """The line for a shell. It never holds the key: that stays in the person's environment."""
    body = shlex.quote(json.dumps({"exchange_id": exchange_id}))
    return (
        f'curl -X POST "{_base_url()}/v1/orders/cancel/all"'
        ' -H "X-CoinAPI-Key: $EMS_API_KEY" -H "Content-Type: application/json"'
        f" -d {body}"
    )


def _base_url() -> str:
    url = settings.EMS_BASE_URL.rstrip("/")
    try:
        parts = urlsplit(url)
        secret = bool(parts.username or parts.password or parts.query or parts.fragment)
    except ValueError:
        secret = True
    odd = any(sign in url for sign in '"$`\\') or not url
    return "$EMS_BASE_URL" if secret or odd else url
