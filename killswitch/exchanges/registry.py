"""Adds exchanges to the console at start; what people have changed there is left alone."""

from collections.abc import Iterable
from dataclasses import dataclass

from django.db import transaction

from killswitch.audit import chain
from killswitch.audit.models import Kind
from killswitch.exchanges.models import Exchange
from killswitch.runtime.revisions import next_revision
from killswitch.runtime.text import sanitize

MAX_ID_CHARS = 200
MAX_NAME_CHARS = 200
MAX_CAVEAT_CHARS = 500


class InvalidExchangeId(ValueError):
    """The text cannot be the id of an exchange."""


@dataclass(frozen=True, kw_only=True)
class ExchangeConfig:
    """An exchange as the configuration names it."""

    exchange_id: str
    name: str = ""
    caveat: str = ""


def check_exchange_id(exchange_id: str) -> None:
    """Raise `InvalidExchangeId` for what a person could not tell from another id on the screen."""
    if not exchange_id:
        raise InvalidExchangeId("an exchange id is missing")
    if len(exchange_id) > MAX_ID_CHARS:
        raise InvalidExchangeId(
            f"the exchange id {exchange_id[:20]!r}… is longer than {MAX_ID_CHARS} signs"
        )
    # Not printable are control signs, and those that turn the direction of writing.
    if not exchange_id.isprintable() or any(sign.isspace() for sign in exchange_id):
        raise InvalidExchangeId(
            f"the exchange id {exchange_id!r} holds white space or invisible signs"
        )


def add_missing(entries: Iterable[ExchangeConfig]) -> tuple[str, ...]:
    """Add what is not there yet, enabled, and return the added ids.

    An exchange that is there stays as it is: somebody may have disabled it for a reason. Several
    hosts may start at once; each id is added, and recorded, by one of them.
    """
    wanted = {entry.exchange_id: entry for entry in entries}
    for exchange_id in wanted:
        check_exchange_id(exchange_id)
    with transaction.atomic():
        added = [new for key in _missing(wanted) if (new := _add(wanted[key]))]
        if added:
            ids = [exchange.pk for exchange in added]
            Exchange.objects.filter(pk__in=ids).update(revision=next_revision())
            chain.append(*(_fact(exchange) for exchange in added))
    return tuple(exchange.exchange_id for exchange in added)


def _missing(wanted: dict[str, ExchangeConfig]) -> list[str]:
    known = set(Exchange.objects.values_list("exchange_id", flat=True))
    # In one order for everybody: two starts that add the same ids wait, and never for each other.
    return sorted(wanted.keys() - known)


def _add(entry: ExchangeConfig) -> Exchange | None:
    exchange, created = Exchange.objects.get_or_create(
        exchange_id=entry.exchange_id,
        defaults={
            "name": sanitize(entry.name)[:MAX_NAME_CHARS],
            "caveat": sanitize(entry.caveat)[:MAX_CAVEAT_CHARS],
        },
    )
    return exchange if created else None


def _fact(exchange: Exchange) -> chain.NewEvent:
    return chain.NewEvent(
        kind=Kind.EXCHANGE_ADDED,
        exchange_id=exchange.exchange_id,
        data={
            "name": exchange.name,
            "caveat": exchange.caveat,
            "enabled": exchange.enabled,
            "position": exchange.position,
            "origin": "configuration",
        },
    )
