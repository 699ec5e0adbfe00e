"""Keeps what the EMS last said of all open orders: one observer at a time, one call for all."""

import heapq
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime

from django.db import Error, connection, transaction
from django.db.models import (
    BigIntegerField,
    Case,
    F,
    PositiveIntegerField,
    QuerySet,
    Value,
    When,
)

from killswitch.ems.client import EmsClient
from killswitch.ems.open_orders import OpenOrders
from killswitch.exchanges.models import Exchange, Observation, UncoveredExchange
from killswitch.runtime.revisions import next_revision

STALE_AFTER_S = 5.0  # seconds for which the holder of the seat may stand still
MAX_ERROR_CHARS = 500
MAX_UNCOVERED = 1_000  # an EMS that invents ids must not fill the page


class ObserverLease:
    """The right to observe, held by one process by compare-and-set on the one observation row.

    The holder raises a counter. Whether it stands still is measured by the taker's own monotonic
    clock: no two clocks are ever compared, so none can be wrong.
    """

    def __init__(
        self, *, patience: float = STALE_AFTER_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.token = f"{socket.gethostname()[:100]}:{os.getpid()}:{secrets.token_hex(4)}"
        self._patience = patience
        self._clock = clock
        self._seen: tuple[str, int] | None = None
        self._seen_at = 0.0

    def hold(self) -> bool:
        """Keep the seat, or take it when nobody holds it any more. Called about once a second."""
        if self.fence():
            return True
        holder, counter = _holder()
        if (holder, counter) != self._seen:
            self._seen, self._seen_at = (holder, counter), self._clock()
        stood_still = self._clock() - self._seen_at >= self._patience
        return (not holder or stood_still) and self._take(holder=holder, counter=counter)

    def release(self) -> None:
        """Let the next observer begin at once."""
        Observation.objects.filter(observer=self.token).update(
            observer="", counter=F("counter") + 1
        )

    def fence(self) -> bool:
        """Say whether the seat is still ours; inside a transaction it stays so until the end."""
        return bool(
            Observation.objects.filter(observer=self.token).update(counter=F("counter") + 1)
        )

    def _take(self, *, holder: str, counter: int) -> bool:
        unchanged = Observation.objects.filter(observer=holder, counter=counter)
        return unchanged.update(observer=self.token, counter=counter + 1) == 1


class Observer:
    """Reads all open orders in one call and writes down what has changed."""

    def __init__(self, *, client: EmsClient, seat: ObserverLease | None = None) -> None:
        self._client = client
        self._seat = seat or ObserverLease()
        self._active = threading.Event()

    @property
    def is_active(self) -> bool:
        return self._active.is_set()

    def keep_lease(self) -> bool:
        """Has its own rhythm, because one call to the EMS may take longer than the patience."""
        try:
            held = self._seat.hold()
        except Error:
            self._active.clear()  # nobody knows while the database cannot be asked
            raise
        if held:
            self._active.set()
        else:
            self._active.clear()
        return held

    def release_lease(self) -> None:
        self._active.clear()
        self._seat.release()

    def read(self) -> OpenOrders | None:
        """Ask the EMS and write the answer down; None when another observer is the active one."""
        if not self.is_active:
            return None
        before = dict(Exchange.objects.values_list("pk", "seen_at"))
        connection.close()  # none is kept while the EMS is being waited for
        orders = self._client.open_orders()
        return orders if self._write(orders, before=before) else None

    def _write(self, orders: OpenOrders, *, before: Mapping[int, datetime | None]) -> bool:
        with transaction.atomic():
            # A process that was stopped during the call must not overwrite its successor's figures.
            if not self._seat.fence():
                return False
            if orders.readable:
                _write_figures(counts=orders.counts, seen_at=orders.started_at, before=before)
            else:
                _write_error(orders.error[:MAX_ERROR_CHARS] or "the open orders could not be read")
        return True


def _holder() -> tuple[str, int]:
    rows = Observation.objects.values_list("observer", "counter")
    if not (row := rows.first()):
        Observation.objects.bulk_create([Observation(id=1)], ignore_conflicts=True)
        row = rows.get()
    return row


def _write_error(error: str) -> None:
    """Figures and their age stay: they are the last ones known, and become visibly stale."""
    if Observation.objects.exclude(error=error).exists():
        Observation.objects.update(error=error, revision=next_revision())


def _write_figures(
    *, counts: Mapping[str, int], seen_at: datetime, before: Mapping[int, datetime | None]
) -> None:
    # Locked before the revision is taken, and in one order: nobody waits in a circle.
    exchanges = list(Exchange.objects.select_for_update(no_key=True).order_by("id"))
    # What a kill has read while this look was under way is newer.
    ours = [each for each in exchanges if each.seen_at == before.get(each.pk)]
    last_look = Observation.objects.values_list("seen_at", flat=True).first()
    changed = {
        exchange.pk: counts.get(exchange.exchange_id, 0)
        for exchange in ours
        if exchange.open_orders != counts.get(exchange.exchange_id, 0)
        or exchange.seen_at != last_look  # its age becomes that of the look again
    }
    enabled = {exchange.exchange_id for exchange in exchanges if exchange.enabled}
    different = (
        _replace_uncovered(_uncovered(counts=counts, enabled=enabled))
        | Observation.objects.exclude(error="").exists()
    )
    revision = next_revision() if changed or different else None
    seen = Exchange.objects.filter(pk__in=[each.pk for each in ours])
    _update_exchanges(seen, changed=changed, seen_at=seen_at, revision=revision)
    news = {"revision": revision} if different and revision else {}
    Observation.objects.update(seen_at=seen_at, error="", **news)


def _update_exchanges(
    seen: QuerySet[Exchange],
    *,
    changed: Mapping[int, int],
    seen_at: datetime,
    revision: int | None,
) -> None:
    """One UPDATE: everything was seen, and some of it has changed."""
    if not changed:
        seen.update(seen_at=seen_at)
        return
    counts = [When(pk=key, then=Value(count)) for key, count in changed.items()]
    seen.update(
        seen_at=seen_at,
        open_orders=Case(*counts, default=F("open_orders"), output_field=PositiveIntegerField()),
        revision=Case(
            When(pk__in=list(changed), then=Value(revision)),
            default=F("revision"),
            output_field=BigIntegerField(),
        ),
    )


def _uncovered(*, counts: Mapping[str, int], enabled: set[str]) -> dict[str, int]:
    listed = [(key, count) for key, count in counts.items() if count and key not in enabled]
    return dict(heapq.nlargest(MAX_UNCOVERED, listed, key=lambda item: item[1]))


def _replace_uncovered(wanted: Mapping[str, int]) -> bool:
    """Make the rows say what is wanted, touching only those that do not. Was there any?"""
    stored = dict(UncoveredExchange.objects.values_list("exchange_id", "open_orders"))
    gone = stored.keys() - wanted.keys()
    different = {key: count for key, count in wanted.items() if stored.get(key) != count}
    if gone:
        UncoveredExchange.objects.filter(exchange_id__in=gone).delete()
    if different:
        UncoveredExchange.objects.bulk_create(
            [UncoveredExchange(exchange_id=k, open_orders=n) for k, n in different.items()],
            update_conflicts=True,
            unique_fields=["exchange_id"],
            update_fields=["open_orders"],
        )
    return bool(gone or different)
