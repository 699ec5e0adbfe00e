"""Adds configured exchanges at start; those that exist already are not changed."""

from collections.abc import Iterable
from dataclasses import dataclass

from killswitch.audit.models import EventKind
from killswitch.audit.recorder import recording
from killswitch.ems.exchange_ids import check_exchange_id
from killswitch.exchanges.models import Exchange
from killswitch.runtime.text import sanitize

MAX_NAME_CHARS = 200
MAX_CAVEAT_CHARS = 500


@dataclass(frozen=True, kw_only=True)
class ExchangeConfig:
    """An exchange as the configuration names it."""

    exchange_id: str
    name: str = ""
    caveat: str = ""


def add_missing(configs: Iterable[ExchangeConfig]) -> tuple[str, ...]:
    """Add the exchanges that do not exist, enabled, and return their ids.

    An exchange that exists is not changed: it may have been disabled for a reason. Several hosts
    may start at once; each exchange is added, and recorded, by one of them.
    """
    configs_by_id = {config.exchange_id: config for config in configs}
    for exchange_id in configs_by_id:
        check_exchange_id(exchange_id)
    new_ids = []
    with recording() as record:
        existing_ids = Exchange.objects.values_list("exchange_id", flat=True)
        # In one order on every host: two that add the same ids never wait for each other.
        for exchange_id in sorted(configs_by_id.keys() - set(existing_ids)):
            config = configs_by_id[exchange_id]
            exchange, is_new = Exchange.objects.get_or_create(
                exchange_id=exchange_id,
                defaults={
                    "name": sanitize(config.name)[:MAX_NAME_CHARS],
                    "caveat": sanitize(config.caveat)[:MAX_CAVEAT_CHARS],
                },
            )
            if not is_new:
                continue
            new_ids.append(exchange_id)
            record.event(
                EventKind.EXCHANGE_ADDED,
                exchange_id=exchange_id,
                data={**exchange.recorded_values, "origin": "configuration"},
            )
        if new_ids:
            record.changed(Exchange.objects.filter(exchange_id__in=new_ids))
    return tuple(new_ids)
