"""Keeps the open orders that the EMS last listed: one active observer, one call for all."""

import heapq
import time
from collections.abc import Callable, Mapping
from datetime import datetime

from django.db import Error, connection
from django.db.models import BigIntegerField, Case, F, PositiveIntegerField, QuerySet, Value, When
from django.db.models.functions import Now

from killswitch.audit.recorder import Recording, recording
from killswitch.cancels.models import CancelRequest
from killswitch.ems.client import EmsClient
from killswitch.ems.open_orders import TimedOpenOrders
from killswitch.exchanges.models import Exchange, Observation, UncoveredExchange
from killswitch.observer import ems_probe
from killswitch.readiness.models import EMS_PROBE, Probe
from killswitch.runtime import revisions
from killswitch.runtime.leases import StillnessTracker, new_lease_token

STALE_AFTER_S = 5.0  # for which a lease may stay unchanged before another observer takes it
MAX_ERROR_CHARS = 500
MAX_UNCOVERED = 1_000  # an EMS that invents ids must not fill the page


class ObserverLease:
    """The right to observe, held by one process by compare-and-set on the one observation row.

    The holder raises a counter. Other observers measure, by their own monotonic clocks, how long
    it has not changed: no two clocks are ever compared.
    """

    def __init__(
        self, *, stale_after_s: float = STALE_AFTER_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.token = new_lease_token()
        self._stale_after_s = stale_after_s
        self._clock = clock
        self._unchanged = StillnessTracker[str]()

    def hold(self) -> bool:
        """Keep the lease, or take it when no process holds it. Called about once a second."""
        if self.fence():
            return True
        token, beats = _current_lease()
        unchanged_s = self._unchanged.observe({token: beats}, now=self._clock())[token]
        if token and unchanged_s < self._stale_after_s:
            return False
        lease_row = Observation.objects.filter(lease_token=token, lease_beats=beats)
        return lease_row.update(lease_token=self.token, lease_beats=beats + 1) == 1

    def release(self) -> None:
        """Let the next observer begin at once."""
        self._mine().update(lease_token="", lease_beats=F("lease_beats") + 1)

    def fence(self) -> bool:
        """Return whether this process holds the lease; true until the end of the transaction."""
        return bool(self._mine().update(lease_beats=F("lease_beats") + 1))

    def _mine(self) -> QuerySet[Observation]:
        return Observation.objects.filter(lease_token=self.token)


class Observer:
    """Reads all open orders in one call and writes what has changed."""

    def __init__(self, *, client: EmsClient, lease: ObserverLease | None = None) -> None:
        self._client = client
        self._lease = lease or ObserverLease()
        self.is_active = False

    def keep_lease(self) -> bool:
        """Keep or take the lease; has its own thread, because a read may outlast the lease."""
        try:
            self.is_active = self._lease.hold()
        except Error:
            self.is_active = False  # unknown while the database cannot be reached
            raise
        return self.is_active

    def release_lease(self) -> None:
        self.is_active = False
        self._lease.release()

    def read(self) -> TimedOpenOrders | None:
        """Read the EMS's list and write it; None when another observer is the active one."""
        if not self.is_active:
            return None
        known = revisions.current()
        seen_before = dict(Exchange.objects.values_list("pk", "seen_at"))
        connection.close()  # none is kept while the EMS is being waited for
        orders = self._client.open_orders()
        return orders if self.write(orders, seen_before=seen_before, known=known) else None

    def write(
        self,
        orders: TimedOpenOrders,
        *,
        seen_before: Mapping[int, datetime | None],
        known: int | None = None,
    ) -> bool:
        """Write what a call has read; False when the lease was lost during the call.

        `seen_before` is each exchange's `seen_at` from before the call, `known` the revision.
        """
        with recording() as record:
            # A process that was stopped during the call must not overwrite its successor's figures.
            if not self._lease.fence():
                return False
            if orders.readable:
                _write_figures(record, orders, seen_before=seen_before, known=known)
            else:
                error = orders.error[:MAX_ERROR_CHARS] or "the open orders could not be read"
                # Figures keep their age: they are the last ones known, and become visibly stale.
                if Observation.objects.exclude(error=error).exists():
                    Observation.objects.update(error=error, revision=record.revision)
        return True


def record_probe(orders: TimedOpenOrders) -> None:
    """Record whether an EMS answers at our address and accepts our key, as this read shows.

    A list that the EMS has sent and that cannot be used passes the probe: a cancel would go out.
    """
    problem = ems_probe.problem(orders)
    Probe.objects.update_or_create(
        name=EMS_PROBE,
        defaults={
            "ok": not problem,
            "detail": (problem or orders.error)[:MAX_ERROR_CHARS],
            "milliseconds": orders.duration_ms,
            "at": Now(),
        },
    )


def _current_lease() -> tuple[str, int]:
    rows = Observation.objects.values_list("lease_token", "lease_beats")
    if not (row := rows.first()):
        Observation.objects.bulk_create([Observation(id=1)], ignore_conflicts=True)
        row = rows.get()
    return row


def _write_figures(
    record: Recording,
    orders: TimedOpenOrders,
    *,
    seen_before: Mapping[int, datetime | None],
    known: int | None,
) -> None:
    counts, seen_at = orders.counts, orders.started_at
    # Locked before the revision is taken, and in one order: no deadlock is possible.
    exchanges = list(Exchange.objects.select_for_update(no_key=True).order_by("id"))
    # What a cancel has read while this call was under way is newer.
    older = [exchange for exchange in exchanges if exchange.seen_at == seen_before.get(exchange.pk)]
    last_seen_at = Observation.objects.values_list("seen_at", flat=True).first()
    changed_counts = {
        exchange.pk: counts.get(exchange.exchange_id, 0)
        for exchange in older
        if exchange.open_orders != counts.get(exchange.exchange_id, 0)
        or exchange.seen_at != last_seen_at  # its age becomes that of the observation again
    }
    enabled_ids = {exchange.exchange_id for exchange in exchanges if exchange.enabled}
    is_observation_changed = (
        _replace_uncovered(counts, enabled=enabled_ids)
        | Observation.objects.exclude(error="").exists()
    )
    rows = Exchange.objects.filter(pk__in=[exchange.pk for exchange in older])
    if changed_counts and known is not None:
        # A request that ended during the call has read a newer list, also where it could not write
        # the figure. Once the revision is taken, no request can end before this is written.
        ended = CancelRequest.objects.final().filter(
            revision__gt=known, revision__lt=record.revision
        )
        keys = set(ended.values_list("configured_exchange_id", flat=True))
        rows = rows.exclude(pk__in=keys)
        changed_counts = {pk: count for pk, count in changed_counts.items() if pk not in keys}
    if changed_counts:
        cases = [When(pk=pk, then=Value(count)) for pk, count in changed_counts.items()]
        rows.update(  # one UPDATE: all of them were seen, and some have changed
            seen_at=seen_at,
            open_orders=Case(*cases, default=F("open_orders"), output_field=PositiveIntegerField()),
            revision=Case(
                When(pk__in=list(changed_counts), then=Value(record.revision)),
                default=F("revision"),
                output_field=BigIntegerField(),
            ),
        )
    else:
        rows.update(seen_at=seen_at)
    revision = {"revision": record.revision} if is_observation_changed else {}
    Observation.objects.update(seen_at=seen_at, error="", **revision)


def _replace_uncovered(counts: Mapping[str, int], *, enabled: set[str]) -> bool:
    """Make the table of uncovered ids match, touching only rows that differ; True if any did."""
    candidates = [(key, count) for key, count in counts.items() if count and key not in enabled]
    largest = dict(heapq.nlargest(MAX_UNCOVERED, candidates, key=lambda item: item[1]))
    rows = dict(UncoveredExchange.objects.values_list("exchange_id", "open_orders"))
    obsolete = rows.keys() - largest.keys()
    different = {key: count for key, count in largest.items() if rows.get(key) != count}
    if obsolete:
        UncoveredExchange.objects.filter(exchange_id__in=obsolete).delete()
    if different:
        UncoveredExchange.objects.bulk_create(
            [UncoveredExchange(exchange_id=key, open_orders=n) for key, n in different.items()],
            update_conflicts=True,
            unique_fields=["exchange_id"],
            update_fields=["open_orders"],
        )
    return bool(obsolete or different)
