"""The tag that shows whom to call: the exchange's contact, and the runbook."""

from collections.abc import Iterable
from typing import Any

from django import template

from killswitch.exchanges.models import Exchange
from killswitch.exchanges.runbook import runbook_text

register = template.Library()


@register.inclusion_tag("exchanges/_runbook.html")
def runbook(exchanges: Exchange | Iterable[Exchange] = ()) -> dict[str, Any]:
    """Show the contacts of one or more exchanges, and the runbook; nothing if there is neither."""
    rows = [exchanges] if isinstance(exchanges, Exchange) else exchanges
    contacts = [exchange for exchange in rows if exchange.contact]
    return {"contacts": contacts, "text": runbook_text()}
