"""Tags and filters of the pages on Holds."""

from collections.abc import Iterable

from django import template

from killswitch.cancels.models import Batch
from killswitch.exchanges.models import Exchange
from killswitch.holds import view_models
from killswitch.holds.models import Hold
from killswitch.holds.view_models import BatchHolds
from killswitch.runtime.text import escape_controls, truncate

register = template.Library()
register.filter("release_ends_at", view_models.release_ends_at)
register.simple_tag(view_models.view_of)

MAX_SYMBOLS_CHARS = 200


@register.filter
def symbols_text(symbols: Iterable[str]) -> str:
    """Return foreign words as a list on one line; each is escaped before they are joined."""
    return truncate(", ".join(map(escape_controls, symbols)), MAX_SYMBOLS_CHARS)


@register.simple_tag
def active_holds_of(exchanges: Iterable[Exchange]) -> list[Hold]:
    """Return the active Holds of these exchanges."""
    return list(Hold.objects.active().filter(configured_exchange__in=list(exchanges)))


@register.simple_tag
def holds_of_batch(batch: Batch) -> BatchHolds | None:
    """Return what a press has held; None unless it was "cancel and hold"."""
    return BatchHolds.of(batch) if batch.hold else None
