"""Changes exchanges: what an administrator decides, and the figure that a cancel has read."""

from collections.abc import Callable, Mapping
from datetime import datetime

from django.db.models import Q

from killswitch.accounts.changes import actor_text
from killswitch.alarms.models import AlarmKind
from killswitch.alarms.services import raise_alarm
from killswitch.audit.actors import Actor
from killswitch.audit.models import EventKind
from killswitch.audit.recorder import recording
from killswitch.exchanges.models import WATCHED, Exchange, OpenOrderList, OpenOrderSample

# What goes on at an exchange that is disabled, in a sentence, or "": packages above add it.
disabling_notes: list[Callable[[Exchange], str]] = []
NO_CANCEL = "Orders there can no longer be cancelled from here. Cancel at the exchange."


def what_goes_on(exchange: Exchange) -> str:
    """Return what cancels orders on an exchange although it is disabled; "" for nothing."""
    return " ".join(filter(None, (note(exchange) for note in disabling_notes)))


def save_exchange(
    exchange: Exchange, *, by: Actor, origin: Mapping[str, str], comment: str = ""
) -> None:
    """Write an exchange, new or changed, with its event, and an alarm if it was disabled.

    The comment says why, in the event and in the alarm. An exchange whose ID was corrected loses
    the figures of the other ID.
    """
    with recording() as record:
        before = Exchange.objects.select_for_update(no_key=True).filter(pk=exchange.pk).first()
        values = {name: [getattr(before, name, None), getattr(exchange, name)] for name in WATCHED}
        changes = {
            name: [old, new] for name, [old, new] in values.items() if before is None or old != new
        }
        if not changes:
            return
        # Only what changed: the observer writes the figures of the same row all the time.
        columns = list(changes)
        if before and "exchange_id" in changes:
            exchange.open_orders = exchange.seen_at = exchange.orders_read_at = None
            columns += ["open_orders", "seen_at", "orders_read_at"]
            OpenOrderList.objects.filter(configured_exchange=exchange).delete()
            OpenOrderSample.objects.filter(configured_exchange=exchange).delete()
        exchange.save(update_fields=columns if before else None)
        record.changed(exchange)
        record.event(
            EventKind.EXCHANGE_CHANGED if before else EventKind.EXCHANGE_ADDED,
            actor=by,
            exchange_id=exchange.exchange_id,
            data={"changes": changes, **({"comment": comment} if comment else {}), **origin},
        )
        if before is not None and before.enabled and not exchange.enabled:
            raise_alarm(
                kind=AlarmKind.PEOPLE,  # an act of an administrator, like a change of a role
                subject=f"exchange {exchange.pk} {record.revision}",
                title=f"{exchange.exchange_id} was disabled by {actor_text(by)}.",
                detail=" ".join(
                    [
                        what_goes_on(exchange) or NO_CANCEL,
                        *([f"Comment: {comment}"] * bool(comment)),
                    ]
                ),
                exchange_id=exchange.exchange_id,
            )


def record_open_orders(pk: int, *, open_orders: int, read_at: datetime, revision: int) -> None:
    """Show the open orders that a cancel has read, until the observer's next read.

    Without it the console would show "17 open orders" next to "Confirmed" for two seconds.
    `read_at` is when the call began. A newer figure is kept, and a locked row is skipped.
    """
    older = Exchange.objects.filter(Q(seen_at=None) | Q(seen_at__lt=read_at), pk=pk)
    free = older.select_for_update(skip_locked=True, no_key=True).values_list("pk", flat=True)
    Exchange.objects.filter(pk__in=list(free)).update(
        open_orders=open_orders, seen_at=read_at, revision=revision
    )
