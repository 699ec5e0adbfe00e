"""What a kill has read of one exchange, for the figure beside its outcome."""

from datetime import datetime

from django.db.models import Q

from killswitch.exchanges.models import Exchange


def record_open_orders(pk: int, *, open_orders: int, read_at: datetime, revision: int) -> None:
    """Show what was read until the observer's next look; `read_at` is when the call began.

    Otherwise "17 open orders" would stand for two seconds beside "none open". A row that somebody
    has locked is not waited for, and a newer figure is kept.
    """
    older = Exchange.objects.filter(Q(seen_at=None) | Q(seen_at__lt=read_at), pk=pk)
    free = older.select_for_update(skip_locked=True, no_key=True).values_list("pk", flat=True)
    Exchange.objects.filter(pk__in=list(free)).update(
        open_orders=open_orders, seen_at=read_at, revision=revision
    )
