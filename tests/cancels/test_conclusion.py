"""How attempts and a list add up, over every combination of a few attempts."""

import itertools
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from killswitch.cancels.conclusion import AttemptSummary, OpenOrdersAfter, conclude
from killswitch.cancels.states import Status
from killswitch.ems.answers import Outcome
from killswitch.ems.open_orders import TimedOpenOrders


@dataclass(frozen=True)
class Attempt:
    outcome: str
    may_have_been_carried_out: bool


ACKNOWLEDGED = Attempt(Outcome.ACKNOWLEDGED, False)
REFUSED = Attempt(Outcome.REJECTED, False)
REFUSED_LATE = Attempt(Outcome.REJECTED, True)
UNKNOWN = Attempt(Outcome.UNKNOWN, True)
NOT_DELIVERED = Attempt(Outcome.NOT_DELIVERED, False)
ATTEMPTS = [ACKNOWLEDGED, REFUSED, REFUSED_LATE, UNKNOWN, NOT_DELIVERED]


def list_of(count: int | None) -> OpenOrdersAfter:
    now = datetime.now(UTC)
    orders = TimedOpenOrders(
        readable=count is not None,
        error="" if count is not None else "it did not answer in time",
        http_status=200,
        counts={},
        orders=(),
        started_at=now,
        finished_at=now,
        duration_ms=1.0,
    )
    return OpenOrdersAfter(answer=orders, count=count)


@pytest.mark.parametrize("count", [0, 3, None])
@pytest.mark.parametrize(
    "attempts", [attempts for n in (1, 2, 3) for attempts in itertools.product(ATTEMPTS, repeat=n)]
)
def test_the_status_follows_from_the_attempts_and_the_list(
    attempts: tuple[Attempt, ...], count: int | None
) -> None:
    status = conclude(AttemptSummary.of(attempts), list_of(count)).status
    if ACKNOWLEDGED in attempts or UNKNOWN in attempts or REFUSED_LATE in attempts:
        unread = Status.UNVERIFIED if ACKNOWLEDGED in attempts else Status.UNKNOWN
        assert status == {0: Status.CONFIRMED, 3: Status.RESIDUAL, None: unread}[count]
    elif REFUSED in attempts:
        assert status == Status.REJECTED
    else:
        assert status == Status.NOT_DELIVERED


def test_without_a_list_no_request_is_confirmed() -> None:
    for attempts in itertools.product(ATTEMPTS, repeat=2):
        assert conclude(AttemptSummary.of(attempts), None).status not in {
            Status.CONFIRMED,
            Status.RESIDUAL,
        }


def test_a_refusal_contains_the_number_of_open_orders() -> None:
    sentence = conclude(AttemptSummary.of([REFUSED]), list_of(1)).sentence
    assert "rejected" in sentence
    assert "1 open order." in sentence
