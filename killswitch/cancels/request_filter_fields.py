"""The fields of the filter of the list of requests: their choices, and how each value is read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self

from killswitch.audit.actors import actor_name
from killswitch.cancels.models import Batch, Origin
from killswitch.cancels.request_outcomes import OUTCOMES
from killswitch.exchanges.models import Exchange
from killswitch.runtime.days import PERIOD_LABELS, begin_of, end_of, parse_day
from killswitch.runtime.filter_values import (
    Field,
    did_you_mean,
    parse_choice,
    parse_page_size,
    parse_text,
)
from killswitch.runtime.http import parse_id
from killswitch.runtime.text import close_names, quoted

CUSTOM: Final = "custom"  # the period of days that are given


class By(StrEnum):
    """Whose cancels are listed. A cancel that failed is never left out by default."""

    PEOPLE = "people"
    PEOPLE_ONLY = "people-only"
    HOLDS = "holds"
    ALL = "all"


BY_LABELS: Final[Mapping[By, str]] = {
    By.PEOPLE: "People, and Holds if not confirmed",
    By.PEOPLE_ONLY: "People only",
    By.HOLDS: "Holds",
    By.ALL: "People and Holds",
}


@dataclass(frozen=True, kw_only=True)
class Choices:
    """The exchanges, and the people who have ever requested a cancel, as batches name them."""

    exchanges: Sequence[Exchange]
    people: Sequence[str]

    @classmethod
    def now(cls) -> Self:
        by_people = Batch.objects.exclude(origin=Origin.HOLD).order_by("by_name")
        return cls(
            exchanges=list(Exchange.objects.order_by("exchange_id")),
            people=list(by_people.values_list("by_name", flat=True).distinct()),
        )


def people_with(text: str, choices: Choices) -> list[str]:
    folded = text.casefold()
    return [
        name
        for name in choices.people
        if folded in name.casefold() or folded in actor_name(name).casefold()
    ]


def exchanges_with(text: str, choices: Choices) -> list[Exchange]:
    folded = text.casefold()
    return [
        row
        for row in choices.exchanges
        if folded in row.exchange_id.casefold() or folded in row.name.casefold()
    ]


def _parse_person(text: str, choices: Choices) -> list[str]:
    """Return the person who is named so, or all whose name contains the text."""
    people = [text] if text in choices.people else people_with(parse_text(text), choices)
    if not people:
        names = [actor_name(name) for name in choices.people]
        hint = did_you_mean(close_names(text, names))
        raise ValueError(f"No user called {quoted(text)} has requested a cancel.{hint}")
    return people


def _parse_exchange(text: str, choices: Choices) -> list[Exchange]:
    """Return the exchange with this ID or row number, or all whose ID or name contains the text."""
    number = parse_id(text)
    exact = [row for row in choices.exchanges if row.exchange_id == text] or [
        row for row in choices.exchanges if row.pk == number
    ]
    exchanges = exact or exchanges_with(parse_text(text), choices)
    if not exchanges:
        names = [row.exchange_id for row in choices.exchanges]
        hint = did_you_mean(close_names(text, names))
        raise ValueError(f"There is no exchange with this ID or name: {quoted(text)}.{hint}")
    return exchanges


def _parse_outcome(text: str, _: Choices) -> str:
    choices = [(name, outcome.label) for name, outcome in OUTCOMES.items()]
    return parse_choice(text, choices, noun="an outcome")


def _parse_by(text: str, _: Choices) -> By:
    return By(parse_choice(text, BY_LABELS.items(), noun="a choice"))


def _parse_period(text: str, _: Choices) -> str:
    return parse_choice(text, [*PERIOD_LABELS.items(), (CUSTOM, "Custom")], noun="a period")


# By their names in an address, in reading order.
FIELDS: Final[Mapping[str, Field]] = {
    "period": Field("period", "Period", _parse_period),
    "from": Field("start", "From", lambda text, _: begin_of(parse_day(text))),
    "to": Field("end", "To", lambda text, _: end_of(parse_day(text))),
    "person": Field("people", "Requested by", _parse_person),
    "exchange": Field("exchanges", "Exchange", _parse_exchange),
    "outcome": Field("outcome", "Outcome", _parse_outcome),
    "reason": Field("reason", "Reason", lambda text, _: parse_text(text)),
    "q": Field("q", "Search", lambda text, _: parse_text(text)),
    "by": Field("by", "Cancels by", _parse_by),
    "size": Field("size", "Per page", lambda text, _: parse_page_size(text)),
}
