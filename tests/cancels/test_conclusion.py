"""How attempts and a list add up, over every combination of a few attempts."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from killswitch.cancels.conclusion import (
    AttemptSummary,
    Conclusion,
    ListHistory,
    OpenOrdersAfter,
    conclude,
)
from killswitch.cancels.states import Status
from killswitch.ems.answers import Outcome, RetryAdvice
from killswitch.ems.open_orders import TimedOpenOrders


@dataclass
class Attempt:
    outcome: str
    may_have_been_carried_out: bool
    delivered: bool = True
    retry_advice: RetryAdvice = RetryAdvice.A_FEW_TIMES


ACKNOWLEDGED = Attempt(Outcome.ACKNOWLEDGED, False)
REFUSED = Attempt(Outcome.REJECTED, False)
REFUSED_LATE = Attempt(Outcome.REJECTED, True)
UNKNOWN = Attempt(Outcome.UNKNOWN, True)
NOT_DELIVERED = Attempt(Outcome.NOT_DELIVERED, False, delivered=False)
BY_DEAD_HOLDER = Attempt(Outcome.UNKNOWN, True, delivered=False)
ATTEMPTS = [ACKNOWLEDGED, REFUSED, REFUSED_LATE, UNKNOWN, NOT_DELIVERED, BY_DEAD_HOLDER]
HAD_ORDERS = ListHistory(open_before=3, ever_listed=True)


def conclusion(
    *attempts: Attempt, last_list: OpenOrdersAfter | None, history: ListHistory = HAD_ORDERS
) -> Conclusion:
    return conclude(AttemptSummary.of(attempts), last_list, exchange_id="KRAKEN", history=history)


def list_of(
    count: int | None, *, error: str = "", others: Mapping[str, int] | None = None
) -> OpenOrdersAfter:
    now = datetime.now(UTC)
    orders = TimedOpenOrders(
        readable=count is not None,
        error=error if count is not None else "it did not answer in time",
        http_status=200,
        counts=others or {},
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
    status = conclusion(*attempts, last_list=list_of(count)).status
    if any(attempt is ACKNOWLEDGED or attempt.may_have_been_carried_out for attempt in attempts):
        unread = Status.UNVERIFIED if ACKNOWLEDGED in attempts else Status.UNKNOWN
        is_delivered = any(attempt.delivered for attempt in attempts)
        empty = Status.CONFIRMED if is_delivered else Status.UNKNOWN
        assert status == {0: empty, 3: Status.RESIDUAL, None: unread}[count]
    elif REFUSED in attempts:
        assert status == Status.REJECTED
    else:
        assert status == Status.NOT_DELIVERED


def test_without_a_list_no_request_is_confirmed() -> None:
    for attempts in itertools.product(ATTEMPTS, repeat=2):
        status = conclusion(*attempts, last_list=None).status
        assert status not in {Status.CONFIRMED, Status.RESIDUAL}


def test_a_refusal_contains_the_number_of_open_orders() -> None:
    sentence = conclusion(REFUSED, last_list=list_of(1)).sentence
    assert "rejected" in sentence
    assert "1 open order." in sentence


def test_a_refusal_without_open_orders_is_put_calmly() -> None:
    sentence = conclusion(REFUSED, last_list=list_of(0)).sentence
    assert sentence.startswith("Refused by the EMS. No open orders.")


def test_a_refused_key_is_not_put_calmly() -> None:
    key_refused = Attempt(Outcome.REJECTED, False, retry_advice=RetryAdvice.ONCE_MORE)
    sentence = conclusion(REFUSED, key_refused, last_list=list_of(0)).sentence
    assert sentence.startswith("The EMS rejected the cancel.")


def test_a_confirmation_does_not_hide_a_refusal() -> None:
    sentence = conclusion(BY_DEAD_HOLDER, REFUSED, last_list=list_of(0)).sentence
    assert "The EMS rejected at least one attempt." in sentence
    assert "rejected" not in conclusion(ACKNOWLEDGED, REFUSED, last_list=list_of(0)).sentence


@pytest.mark.parametrize("attempts", [(BY_DEAD_HOLDER,), (NOT_DELIVERED, BY_DEAD_HOLDER)])
def test_no_cancel_is_known_to_have_reached_the_ems(attempts: tuple[Attempt, ...]) -> None:
    sentence = conclusion(*attempts, last_list=list_of(0)).sentence
    assert sentence.startswith("No cancel is known to have reached the EMS.")


def test_an_empty_list_that_was_empty_before_says_so_unless_the_cancel_was_accepted() -> None:
    flat = ListHistory(open_before=0, ever_listed=True)
    words = "empty before and is empty now"
    for attempts in itertools.product(ATTEMPTS, repeat=2):
        result = conclusion(*attempts, last_list=list_of(0), history=flat)
        is_confirmed_without_answer = (
            result.status is Status.CONFIRMED and ACKNOWLEDGED not in attempts
        )
        assert (words in result.sentence) == is_confirmed_without_answer
        assert words not in conclusion(*attempts, last_list=list_of(0)).sentence
    once = ListHistory(open_before=0, had_orders=True, ever_listed=True)
    assert words not in conclusion(UNKNOWN, last_list=list_of(0), history=once).sentence
    unknown = ListHistory(open_before=None, ever_listed=True)
    assert words not in conclusion(UNKNOWN, last_list=list_of(0), history=unknown).sentence


def test_orders_of_other_accounts_in_the_same_list_are_mentioned() -> None:
    other = list_of(0, others={"KRAKEN/JOHN": 3, "KRAKENFTS": 7, "BINANCE": 9})
    sentence = conclusion(ACKNOWLEDGED, last_list=other).sentence
    assert sentence.endswith("The same list has 3 open orders of KRAKEN/JOHN.")
    many = list_of(2, others={f"KRAKEN/{number}": 1 for number in range(6)})
    sentence = conclusion(ACKNOWLEDGED, last_list=many).sentence
    assert sentence.endswith("1 open order of KRAKEN/2 and 3 open orders of other accounts.")


def test_an_exchange_that_was_never_listed_is_not_simply_empty() -> None:
    never = ListHistory(open_before=0, ever_listed=False)
    words = "KRAKEN was never listed by the EMS"
    assert words in conclusion(ACKNOWLEDGED, last_list=list_of(0), history=never).sentence
    assert words in conclusion(REFUSED, last_list=list_of(0), history=never).sentence
    assert words not in conclusion(ACKNOWLEDGED, last_list=list_of(0)).sentence
    now = never.after_orders(are_named=True)
    assert words not in conclusion(ACKNOWLEDGED, last_list=list_of(0), history=now).sentence
    unnamed = never.after_orders(are_named=False)
    assert words in conclusion(ACKNOWLEDGED, last_list=list_of(0), history=unnamed).sentence


def test_a_count_with_a_doubt_is_a_lower_bound() -> None:
    sentence = conclusion(ACKNOWLEDGED, last_list=list_of(3, error="only one page")).sentence
    assert "listed at least 3 open orders (only one page)" in sentence
