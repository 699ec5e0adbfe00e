"""How attempts and a list add up: DESIGN's rules, over every combination of a few attempts."""

import itertools
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from killswitch.cancels.conclusion import AttemptSummary, OpenOrdersAfter, conclude
from killswitch.cancels.states import Status
from killswitch.ems.answers import Outcome
from killswitch.ems.open_orders import OpenOrders


@dataclass(frozen=True)
class Call:
    outcome: str
    may_have_been_carried_out: bool


ACKNOWLEDGED = Call(Outcome.ACKNOWLEDGED, False)
REFUSED = Call(Outcome.REJECTED, False)
REFUSED_LATE = Call(Outcome.REJECTED, True)
UNKNOWN = Call(Outcome.UNKNOWN, True)
NOT_DELIVERED = Call(Outcome.NOT_DELIVERED, False)
CALLS = [ACKNOWLEDGED, REFUSED, REFUSED_LATE, UNKNOWN, NOT_DELIVERED]


def reading(count: int | None) -> OpenOrdersAfter:
    now = datetime.now(UTC)
    orders = OpenOrders(
        readable=count is not None,
        error="" if count is not None else "it did not answer in time",
        http_status=200,
        counts={},
        orders=(),
        started_at=now,
        finished_at=now,
        duration_ms=1.0,
    )
    return OpenOrdersAfter(orders=orders, count=count)


@pytest.mark.parametrize("count", [0, 3, None])
@pytest.mark.parametrize(
    "calls", [c for n in (1, 2, 3) for c in itertools.product(CALLS, repeat=n)]
)
def test_the_status_follows_the_rules_of_adding_up(
    calls: tuple[Call, ...], count: int | None
) -> None:
    status = conclude(AttemptSummary.of(calls), reading(count)).status
    if ACKNOWLEDGED in calls or UNKNOWN in calls or REFUSED_LATE in calls:
        unread = Status.UNVERIFIED if ACKNOWLEDGED in calls else Status.UNKNOWN
        assert status == {0: Status.CONFIRMED, 3: Status.RESIDUAL, None: unread}[count]
    elif REFUSED in calls:
        assert status == Status.REJECTED
    else:
        assert status == Status.NOT_DELIVERED


def test_without_any_reading_nothing_is_confirmed() -> None:
    for calls in itertools.product(CALLS, repeat=2):
        assert conclude(AttemptSummary.of(calls), None).status not in {
            Status.CONFIRMED,
            Status.RESIDUAL,
        }


def test_a_refusal_says_what_the_list_showed() -> None:
    sentence = conclude(AttemptSummary.of([REFUSED]), reading(1)).sentence
    assert "refused" in sentence
    assert "1 open order " in sentence
