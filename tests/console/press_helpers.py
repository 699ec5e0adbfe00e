"""How a browser presses: read the question, send its form."""

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
    """The confirmation as a browser gets it."""
    answer = client.get(path)
    assert answer.status_code == 200
    return html(answer)


def key_in(page: str) -> str:
    """The first one-use key of a page."""
    found = re.search(r'name="key" value="([^"]+)"', page)
    assert found, page
    return found[1]


def press(client: Client, path: str, *, htmx: bool = True, **fields: Any) -> Any:
    """Confirm what a question asks, with its key unless another one is given."""
    fields = {"key": key_in(question(client, path))} | fields
    return client.post(path, fields, headers=HTMX if htmx else {})
