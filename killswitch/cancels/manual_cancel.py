"""How to cancel without this console: a shell command for each exchange."""

import json
import shlex
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import urlsplit

from django.conf import settings


class Line(NamedTuple):
    """One command and the exchange that it cancels on."""

    exchange_id: str
    command: str


def lines(exchange_ids: Iterable[str]) -> list[Line]:
    """Return a command for each exchange, or one to fill in when none is named."""
    ids = list(exchange_ids) or ["EXCHANGE_ID"]
    return [Line(exchange_id=exchange_id, command=command(exchange_id)) for exchange_id in ids]


def command(exchange_id: str) -> str:
    """Return the shell command. The API key stays in the person's environment."""
    body = shlex.quote(json.dumps({"exchange_id": exchange_id}))
    return (
        f'curl -X POST "{_base_url(settings.EMS_BASE_URL)}/v1/orders/cancel/all"'
        ' -H "X-CoinAPI-Key: $EMS_API_KEY" -H "Content-Type: application/json"'
        f" -d {body}"
    )


@lru_cache
def _base_url(url: str) -> str:
    """Return the URL, or the variable that holds it if it has a secret or ends the quotes."""
    url = url.rstrip("/")
    try:
        parts = urlsplit(url)
        has_secret = bool(parts.username or parts.password or parts.query or parts.fragment)
    except ValueError:
        has_secret = True
    if not url or has_secret or any(character in url for character in '"$`\\'):
        return "$EMS_BASE_URL"
    return url
