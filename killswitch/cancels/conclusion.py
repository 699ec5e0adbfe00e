"""How several attempts and one list of open orders add up to what is known. Pure functions."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from killswitch.cancels.states import Status
from killswitch.ems.answers import Outcome, RetryAdvice
from killswitch.ems.open_orders import TimedOpenOrders
from killswitch.runtime.text import pluralize_count

MAX_ACCOUNTS_NAMED = 3
# What the conclusion says of an exchange ID that the EMS has never listed; earlier versions wrote
# the second one.
NEVER_LISTED = "never listed by the EMS"
NEVER_LISTED_TEXTS = (NEVER_LISTED, "the EMS has never listed an order of")
# How the conclusion of a refusal begins that needs no attention.
CALM_REFUSAL = "Refused by the EMS. No open orders."


class AttemptLike(Protocol):
    """An answer just received, or an `Attempt` on record."""

    @property
    def outcome(self) -> str: ...
    @property
    def may_have_been_carried_out(self) -> bool: ...
    @property
    def delivered(self) -> bool: ...
    @property
    def retry_advice(self) -> RetryAdvice: ...


@dataclass(frozen=True, kw_only=True)
class AttemptSummary:
    """What the attempts of one request prove together."""

    acknowledged: bool = False
    possible: bool = False
    refused: bool = False
    delivered: bool = False
    key_refused: bool = False

    @classmethod
    def of(cls, attempts: Iterable[AttemptLike]) -> "AttemptSummary":
        summary = cls()
        for attempt in attempts:
            summary = summary.including(attempt)
        return summary

    def including(self, attempt: AttemptLike) -> "AttemptSummary":
        return AttemptSummary(
            acknowledged=self.acknowledged or attempt.outcome == Outcome.ACKNOWLEDGED,
            possible=self.possible or attempt.may_have_been_carried_out,
            refused=self.refused or attempt.outcome == Outcome.REJECTED,
            delivered=self.delivered or attempt.delivered,
            key_refused=self.key_refused or attempt.retry_advice is RetryAdvice.ONCE_MORE,
        )

    @property
    def list_decides(self) -> bool:
        """Return True when orders may have been cancelled, so only the list can tell."""
        return self.acknowledged or self.possible

    @property
    def may_have_reached_the_ems(self) -> bool:
        return self.delivered or self.possible


@dataclass(frozen=True, kw_only=True)
class ListHistory:
    """What the EMS has listed before: how much a list that is empty now says."""

    open_before: int | None  # the observer's figure when the request was made
    had_orders: bool = False  # in a list that was read since
    ever_listed: bool  # at any time, as far as this console knows

    @property
    def was_empty(self) -> bool:
        return self.open_before == 0 and not self.had_orders

    def after_orders(self, *, are_named: bool) -> "ListHistory":
        """Return the history after a list with orders; `are_named` if they name this exchange."""
        return replace(self, had_orders=True, ever_listed=self.ever_listed or are_named)


@dataclass(frozen=True, kw_only=True)
class OpenOrdersAfter:
    """The newest list of open orders that was requested after the last POST had ended."""

    answer: TimedOpenOrders
    count: int | None  # None: it could not be read
    is_counted: bool = True  # among the reads of the request; the last one is not, as a rule

    @property
    def read_at(self) -> datetime:
        return self.answer.finished_at


@dataclass(frozen=True, kw_only=True)
class Conclusion:
    """The final status, and one honest sentence that gives the reason."""

    status: Status
    sentence: str


def conclude(
    attempts: AttemptSummary,
    last_list: OpenOrdersAfter | None,
    *,
    exchange_id: str,
    history: ListHistory,
) -> Conclusion:
    """Return the status that the attempts and the list prove, and no better one."""
    count = last_list.count if last_list else None
    list_text = _list_text(last_list, exchange_id=exchange_id, history=history)
    if not attempts.may_have_reached_the_ems:
        return Conclusion(
            status=Status.NOT_DELIVERED,
            sentence="No connection to the EMS could be made, so the cancel was not delivered.",
        )
    if not attempts.list_decides:
        # A key that may not cancel is an operator's problem even while no orders are open.
        is_calm = count == 0 and not attempts.key_refused
        outcome = CALM_REFUSAL if is_calm else "The EMS rejected the cancel."
        if is_calm and last_list:
            remarks = _remarks(last_list, exchange_id=exchange_id, history=history)
            list_text = f"The list was read at {last_list.read_at:%H:%M:%S} UTC.{remarks}"
        return Conclusion(status=Status.REJECTED, sentence=f"{outcome} {list_text}")
    if attempts.acknowledged:
        unread, outcome = Status.UNVERIFIED, "The EMS accepted the cancel."
    elif not attempts.delivered:
        unread, outcome = Status.UNKNOWN, "No cancel is known to have reached the EMS."
    elif count == 0 and history.was_empty:
        unread = Status.UNKNOWN
        outcome = (
            "The EMS did not say whether it accepted the cancel. The list was empty before and is"
            " empty now."
        )
    else:
        unread, outcome = Status.UNKNOWN, "The cancel may or may not have been carried out."
    if attempts.refused and not attempts.acknowledged:
        outcome += " The EMS rejected at least one attempt."
    match count:
        case None:
            status = unread
        case 0:
            status = Status.CONFIRMED if attempts.delivered else Status.UNKNOWN
        case _:
            status = Status.RESIDUAL
    return Conclusion(status=status, sentence=f"{outcome} {list_text}")


def conclude_without_sending(attempts: AttemptSummary, *, why: str) -> Conclusion:
    """Return the status of a request that is ended although it could still be sent, and why."""
    if not attempts.may_have_reached_the_ems:
        return Conclusion(
            status=Status.NOT_DELIVERED,
            sentence=f"{why} It never reached the EMS. Cancel again if it is needed.",
        )
    # What the EMS may have listed before does not matter without a list.
    history = ListHistory(open_before=None, ever_listed=True)
    known = conclude(attempts, None, exchange_id="", history=history)
    return Conclusion(
        status=known.status,
        sentence=f"{why} Nothing more was sent. {known.sentence} Cancel again if it is needed.",
    )


def _list_text(last_list: OpenOrdersAfter | None, *, exchange_id: str, history: ListHistory) -> str:
    if last_list is None:
        return "The open orders were not checked."
    answer, count = last_list.answer, last_list.count
    if count is None:
        return f"The open orders could not be read ({answer.error})."
    orders = pluralize_count(count, "open order") if count else "no open orders"
    if count and answer.error:
        orders = f"at least {orders} ({answer.error})"
    remarks = _remarks(last_list, exchange_id=exchange_id, history=history)
    return f"At {last_list.read_at:%H:%M:%S} UTC the EMS listed {orders}.{remarks}"


def _remarks(last_list: OpenOrdersAfter, *, exchange_id: str, history: ListHistory) -> str:
    """Return what else has to be said of a list, so that it is not taken for more than it is."""
    text = ""
    if others := last_list.answer.other_accounts(exchange_id):
        text += f" The same list has {_accounts_text(others)}."
    if last_list.count == 0 and not history.ever_listed:
        text += (
            f" As far as this console knows, {exchange_id} was {NEVER_LISTED}: check how the EMS"
            " spells this ID."
        )
    return text


def _accounts_text(counts: Mapping[str, int]) -> str:
    """Return e.g. "3 open orders of KRAKEN/JOHN and 2 open orders of KRAKEN/ANN"."""
    parts = [f"{pluralize_count(count, 'open order')} of {name}" for name, count in counts.items()]
    if len(parts) > MAX_ACCOUNTS_NAMED:
        rest = sum(list(counts.values())[MAX_ACCOUNTS_NAMED:])
        parts[MAX_ACCOUNTS_NAMED:] = [f"{pluralize_count(rest, 'open order')} of other accounts"]
    return ", ".join(parts[:-1]) + " and " * (len(parts) > 1) + parts[-1]
