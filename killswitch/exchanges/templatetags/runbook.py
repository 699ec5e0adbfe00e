"""The tag that shows whom to call: the exchange's contact, and the runbook."""

from collections.abc import Iterable
from typing import Any

from django import template

from killswitch.exchanges.models import Exchange
from killswitch.exchanges.runbook import runbook_text

register = template.Library()


@register.inclusion_tag("exchanges/_runbook.html", takes_context=True)
def runbook(
    context: template.Context, exchanges: Exchange | Iterable[Exchange] = ()
) -> dict[str, Any]:
    """Show the contacts of one or more exchanges, and the runbook; nothing if there is neither."""
    rows = [exchanges] if isinstance(exchanges, Exchange) else exchanges
    contacts = [exchange for exchange in rows if exchange.contact]
    # Every page brings the text, read once however often it is shown.
    text = context["runbook_text"] if "runbook_text" in context else runbook_text()
    return {"contacts": contacts, "text": str(text)}
