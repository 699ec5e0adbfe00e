"""Looks again at what a cancel has confirmed, in the lists that the observer reads anyway.

Lists lag, venues restore orders, and algorithms go on: shortly after a request ended CONFIRMED, and
once more a minute later, what is open is recorded, and orders that are open again are an alarm.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from math import inf

from django.db.models import Exists, OuterRef, Q, prefetch_related_objects

from killswitch.audit.models import EventKind
from killswitch.audit.recorder import Recording
from killswitch.cancels import event_data
from killswitch.cancels.models import SECOND_LOOKS_AFTER_S, CancelRequest, Origin, SecondLook
from killswitch.cancels.request_alarms import raise_reopened_alarm
from killswitch.cancels.states import Status
from killswitch.ems.open_orders import OpenOrders, TimedOpenOrders
from killswitch.holds.models import Hold
from killswitch.runtime.leases import StillnessTracker
from killswitch.runtime.text import truncate

REOPENED_WITHIN_S = 300.0
MAX_LATE_S = 30.0  # by which a look may be late; a later one is left out
# How far back an observer that has just started looks; by the clocks of two hosts, so only roughly.
MAX_AGE = timedelta(minutes=6)
MAX_ERROR_CHARS = 500


@dataclass(frozen=True, kw_only=True)
class Listed:
    """The open orders that are listed of one exchange.

    `open_orders` is None if the lists prove nothing. With an error, a number is the least.
    """

    open_orders: int | None
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class ListRead:
    """One read of the observer: the list of all exchanges, and the lists of single ones."""

    orders: TimedOpenOrders
    single_lists: Mapping[str, OpenOrders]
    # The exchanges will be read one by one a moment later; that the list of all fails says nothing.
    awaits_single_lists: bool = False
    known: int  # the revision before the call
    requested_at: float  # in seconds of the observer's monotonic clock

    def listed(self, exchange_id: str) -> Listed:
        """Return what the lists say of one exchange."""
        single, other_ids = self.single_lists.get(exchange_id), []
        if single is not None and single.readable and not single.may_have_more:
            return Listed(open_orders=single.count(exchange_id), error=single.error)
        if self.orders.readable:
            other_ids = self.orders.other_spellings(exchange_id)
            if not other_ids:
                return Listed(open_orders=self.orders.count(exchange_id))
        # What is listed is open, whatever is missing; only a cache may list what was open earlier.
        lists = [each for each in (single, self.orders) if each is not None and each.is_from_ems]
        error = (single.error if single else "") or self.orders.error
        if other_ids:
            error = f"the list has orders of {', '.join(other_ids)}, which may be the same exchange"
        return Listed(
            open_orders=max((each.count(exchange_id) for each in lists), default=0) or None,
            error=truncate(error or "the open orders could not be read", MAX_ERROR_CHARS),
        )


class SecondLooks:
    """Follows the requests that end CONFIRMED, and knows how long ago each of them did.

    A request that ended between two reads of this process has an age by its monotonic clock. After
    a start, or a long pause, the age is known only roughly: then no look is recorded, because it
    would be at a wrong time, and orders that are open again are an alarm all the same.
    """

    def __init__(
        self,
        *,
        after_s: Sequence[int] = SECOND_LOOKS_AFTER_S,
        reopened_within_s: float = REOPENED_WITHIN_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._after_s = after_s
        self._reopened_within_s = reopened_within_s
        self.clock = clock
        self._previous: tuple[int, float] | None = (
            None  # the revision and the time of the last read
        )
        self._known_s = StillnessTracker[int]()
        # For how long, at most, a request had been over when this process first knew of it.
        self._late_s: dict[int, float] = {}

    def record(self, record: Recording, read: ListRead) -> None:
        """Record what a read shows of the requests that are followed.

        Called in the observer's recording, under its lease, before the revision is taken.
        """
        requests = self._followed(read)
        known_s = self._known_s.observe(
            {request.pk: request.finished_revision for request in requests}, now=read.requested_at
        )
        lateness_s = read.requested_at - self._previous[1] if self._previous else inf
        self._late_s = {pk: self._late_s.get(pk, lateness_s) for pk in known_s}
        self._previous = (read.known, read.requested_at)
        due: dict[int, list[int]] = {}
        reopened: dict[int, timedelta] = {}
        for request in requests:
            delay = _delay(request, read, least_s=known_s[request.pk], late_s=self._late_s)
            if delay.total_seconds() > self._reopened_within_s:
                del self._late_s[request.pk]
                continue
            due[request.pk] = self._due(request, known_s[request.pk], read)
            if request.reopened_at is None and read.listed(request.exchange_id).open_orders:
                reopened[request.pk] = delay
        held = _held(requests) if reopened else set()
        reopened = {pk: delay for pk, delay in reopened.items() if pk not in held}
        write(record, read, due=due, reopened=reopened)

    def _followed(self, read: ListRead) -> list[CancelRequest]:
        """Return the requests that ended CONFIRMED before the list was requested.

        Only those that are followed already or ended since the last read, and are the newest of
        their exchange.
        """
        known, requested_at = self._previous or (0, -inf)
        if read.requested_at - requested_at < MAX_AGE.total_seconds():
            # The first condition follows from the second one, and has an index.
            is_new = Q(revision__gt=known, finished_revision__gt=known)
        else:
            is_new = Q(status=Status.CONFIRMED, finished_at__gt=read.orders.started_at - MAX_AGE)
        newer = CancelRequest.objects.filter(
            configured_exchange=OuterRef("configured_exchange"), pk__gt=OuterRef("pk")
        )
        rows = CancelRequest.objects.filter(
            is_new | Q(pk__in=list(self._late_s)),
            ~Exists(newer),
            finished_revision__lte=read.known,
        )
        # In SQL, a condition on the status or an order would make SQLite read all requests.
        requests = [
            request
            for request in rows.select_related("batch").order_by()
            if request.status == Status.CONFIRMED
        ]
        prefetch_related_objects(requests, "second_looks")
        return requests

    def _due(self, request: CancelRequest, known_s: float, read: ListRead) -> list[int]:
        """Return the delays after which this read is the second look."""
        if request.batch.origin == Origin.HOLD:
            return []  # the Hold itself goes on reading
        if read.awaits_single_lists and read.listed(request.exchange_id).open_orders is None:
            return []
        present = {look.after_s for look in request.second_looks.all()}
        at_most_s = known_s + self._late_s[request.pk]
        return [
            after_s
            for after_s in self._after_s
            if after_s not in present and known_s >= after_s and at_most_s <= after_s + MAX_LATE_S
        ]


def _delay(
    request: CancelRequest, read: ListRead, *, least_s: float, late_s: Mapping[int, float]
) -> timedelta:
    """Return how long ago the request had ended when the list was requested.

    By the clocks of two hosts, within the bounds of this process's own: a wrong clock has no effect
    on a request that it has seen end.
    """
    assert request.finished_at is not None  # noqa: S101 - a database constraint
    by_clocks_s = (read.orders.started_at - request.finished_at).total_seconds()
    most_s = least_s + late_s[request.pk]
    return timedelta(seconds=min(max(by_clocks_s, least_s), most_s))


def _held(requests: Sequence[CancelRequest]) -> set[int]:
    """Return the requests after which a Hold cancels what comes back, or was released.

    People who release a Hold let trading go on.
    """
    by_exchange = {request.configured_exchange_id: request for request in requests}
    held = set()
    for hold in Hold.objects.filter(configured_exchange__in=list(by_exchange)):
        request = by_exchange[hold.configured_exchange_id]
        # By revisions, because the two times are by the clocks of two hosts.
        if hold.is_active or hold.revision > (request.finished_revision or 0):
            held.add(request.pk)
    return held


def write(
    record: Recording,
    read: ListRead,
    *,
    due: Mapping[int, Sequence[int]],
    reopened: Mapping[int, timedelta],
) -> None:
    """Write the looks that are due, and the requests that were reopened so long after their end.

    Both are by the number of the request.
    """
    pks = [pk for pk, delays in due.items() if delays or pk in reopened]
    if not pks:
        return
    # A row that is locked elsewhere is left to the next read, rather than waited for.
    locked = CancelRequest.objects.select_for_update(of=("self",), no_key=True, skip_locked=True)
    requests = list(locked.select_related("batch").filter(pk__in=pks).order_by("id"))
    for request in requests:
        listed = read.listed(request.exchange_id)
        for after_s in due[request.pk]:
            look = SecondLook(
                request=request,
                after_s=after_s,
                read_at=read.orders.started_at,
                open_orders=listed.open_orders,
                error=listed.error,
            )
            look.save(force_insert=True)
            record.event(
                EventKind.SECOND_LOOK,
                exchange_id=request.exchange_id,
                request_id=str(request.uuid),
                status=request.status,
                data={"batch": str(request.batch.uuid), **event_data.of_look(look)},
            )
        if request.pk in reopened:
            assert request.finished_at is not None  # noqa: S101 - a database constraint
            # By the clock that has timed its end: the difference of the two is what was measured.
            request.reopened_at = request.finished_at + reopened[request.pk]
            request.reopened_orders = listed.open_orders
            request.save(update_fields=["reopened_at", "reopened_orders"])
    record.changed(*requests)
    # The first alarm takes the revision, so every row is locked before it.
    for request in requests:
        if request.pk in reopened:
            doubt = read.listed(request.exchange_id).error
            raise_reopened_alarm(request, listed_at=read.orders.started_at, doubt=doubt)
