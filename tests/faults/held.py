"""What the tests of a Hold share: held exchanges, who enforces, and how long orders lived."""

import time
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

from django.db.models import Count

from killswitch.alarms.models import Alarm, AlarmKind
from killswitch.audit.actors import Actor
from killswitch.audit.models import AuditEvent
from killswitch.cancels.models import CancelRequest, Origin, RequestQuerySet
from killswitch.exchanges.models import Exchange
from killswitch.exchanges.registry import ExchangeConfig, add_missing
from killswitch.holds.models import Enforcement, Hold, HoldState
from killswitch.holds.services import Act, start_hold
from killswitch.simulator.lives import Life
from killswitch.simulator.server import Simulator

# What is promised, and measured by the long tests, which run alone.
MAX_LIFE_S = 3.0  # of an order on a held exchange, after the EMS first listed it
TAKEOVER_S = 6.0  # after a process was killed, for another one to enforce instead
BUSY = 2  # times as long on a machine where other tests run at the same time

_OFFICER = Act(by=Actor(name="Olga Ray (olga)", role="Risk officer"), origin=Origin.COMMAND_LINE)


def hold(*exchange_ids: str) -> None:
    """Hold the exchanges, which are added."""
    add_missing(ExchangeConfig(exchange_id=exchange_id) for exchange_id in exchange_ids)
    for exchange in Exchange.objects.filter(exchange_id__in=exchange_ids):
        start_hold(exchange, act=_OFFICER, reason="drill")


def enforcing_pid() -> int | None:
    """Return the process that enforces all Holds; None if no process does."""
    token = Enforcement.objects.values_list("lease_token", flat=True).first()
    return int(token.split(":")[-2]) if token else None


def are_enforced(*exchange_ids: str) -> Callable[[], bool]:
    """Return whether the list of each of these held exchanges has been read."""
    unread = Hold.objects.filter(exchange_id__in=exchange_ids, last_read_at=None)
    return lambda: not unread.all().exists()


def all_are_active() -> bool:
    return set(Hold.objects.values_list("state", flat=True)) == {HoldState.ACTIVE}


def requests(exchange_id: str = "") -> RequestQuerySet:
    """Return the requests by Holds, on one exchange or on all."""
    rows = CancelRequest.objects.filter(batch__origin=Origin.HOLD).order_by("id")
    return rows.filter(exchange_id=exchange_id) if exchange_id else rows


def events(kind: str) -> list[AuditEvent]:
    return list(AuditEvent.objects.filter(kind=kind).order_by("seq"))


def alarms() -> dict[tuple[str, str], int]:
    """Return how many alarms of each kind there are about each exchange."""
    rows = Alarm.objects.exclude(kind=AlarmKind.READINESS).order_by()  # about no exchange
    counts = rows.values_list("kind", "exchange_id").annotate(Count("pk"))
    return {(kind, exchange_id): count for kind, exchange_id, count in counts}


def seconds_between_requests(exchange_id: str) -> list[float]:
    """Return the time between each request by the Hold of an exchange and the next one."""
    times = requests(exchange_id).values_list("batch__asked_at", flat=True)
    return [(later - earlier).total_seconds() for earlier, later in pairwise(times)]


def seconds_between_posts(simulator: Simulator, exchange_id: str) -> list[float]:
    times = [call.received_monotonic for call in simulator.calls(exchange_id)]
    return [later - earlier for earlier, later in pairwise(times)]


def longest_life_s(
    simulator: Simulator,
    *exchange_ids: str,
    kills: Sequence[float] = (),
    takeover_s: float = TAKEOVER_S,
) -> tuple[float, Life | None]:
    """Return the longest life after a first list, without the seconds after each kill, and whose.

    `kills` are monotonic times more than `takeover_s` apart.
    """
    now = time.monotonic()

    def undisturbed_s(life: Life) -> float:
        begin = life.first_listed_monotonic or now
        end = begin + life.listed_s(now=now)
        disturbed = (min(end, kill + takeover_s) - max(begin, kill) for kill in kills)
        return end - begin - sum(max(0.0, seconds) for seconds in disturbed)

    lives: Iterable[Life] = (life for name in exchange_ids for life in simulator.lives(name))
    longest = max(lives, key=undisturbed_s, default=None)
    return (undisturbed_s(longest) if longest else 0.0), longest
