"""How a browser requests a cancel: get the confirmation, send its form."""

import re
from typing import Any

from django.test import Client

from killswitch.exchanges.models import Exchange
from tests.markup import html

EVERYWHERE = "/cancel-all/"
HTMX = {"HX-Request": "true"}


def path_of(exchange: Exchange) -> str:
    return f"/exchanges/{exchange.pk}/cancel-all/"


def question(client: Client, path: str) -> str:
    """Return the confirmation as a browser gets it."""
    answer = client.get(path)
    assert answer.status_code == 200
    return html(answer)


def key_in(page: str) -> str:
    """Return the first one-use key of a page."""
    match = re.search(r'name="key" value="([^"]+)"', page)
    assert match, page
    return match[1]


def press(client: Client, path: str, *, htmx: bool = True, **fields: Any) -> Any:
    """Send the form of the confirmation, with its own key unless another is given."""
    fields = {"key": key_in(question(client, path))} | fields
    return client.post(path, fields, headers=HTMX if htmx else {})
