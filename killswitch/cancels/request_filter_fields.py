"""The fields of the filter of the list of requests: their choices, and how each value is read."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Any, Final, Self

from killswitch.audit.actor_names import actor_name
from killswitch.cancels.models import Batch, Origin
from killswitch.cancels.request_outcomes import OUTCOMES
from killswitch.exchanges.models import Exchange
from killswitch.runtime.http import parse_id
from killswitch.runtime.text import close_names, escape_controls, truncate

MAX_CHARS: Final = 200
MAX_SHOWN_CHARS: Final = 60  # of a wrong value in an error message
MAX_SUGGESTIONS: Final = 3
SIZES: Final = (50, 100, 200)
CODES: Final = frozenset({"period", "outcome", "by"})  # fields whose values are ours, in any case
# By their names in an address, in reading order.
FIELDS: Final[Mapping[str, str]] = {
    "period": "Period",
    "from": "From",
    "to": "To",
    "person": "Requested by",
    "exchange": "Exchange",
    "outcome": "Outcome",
    "reason": "Reason",
    "q": "Search",
    "by": "Cancels by",
    "size": "Per page",
}


class Period(StrEnum):
    """A range of UTC days, relative to today unless it is custom."""

    TODAY = "today"
    YESTERDAY = "yesterday"
    WEEK = "week"
    MONTH = "month"
    CUSTOM = "custom"


PERIOD_LABELS: Final[Mapping[Period, str]] = {
    Period.TODAY: "Today",
    Period.YESTERDAY: "Yesterday",
    Period.WEEK: "Last 7 days",
    Period.MONTH: "This month",
}


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


def shown(text: str) -> str:
    return escape_controls(truncate(text, MAX_SHOWN_CHARS))


def _check_text(text: str) -> str:
    if len(text) > MAX_CHARS:
        raise ValueError(f"Enter at most {MAX_CHARS} characters.")
    if any(character == "\0" or "\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("This contains a character that cannot be searched for.")
    return text


def _did_you_mean(text: str, names: Iterable[str]) -> str:
    """Return a question that suggests the names most like the text; empty without any."""
    likely = close_names(text, names, n=MAX_SUGGESTIONS)
    return f" Did you mean {' or '.join(likely)}?" if likely else ""


def _people_with(text: str, choices: Choices) -> list[str]:
    folded = text.casefold()
    return [
        name
        for name in choices.people
        if folded in name.casefold() or folded in actor_name(name).casefold()
    ]


def _exchanges_with(text: str, choices: Choices) -> list[Exchange]:
    folded = text.casefold()
    return [
        row
        for row in choices.exchanges
        if folded in row.exchange_id.casefold() or folded in row.name.casefold()
    ]


def _parse_person(text: str, choices: Choices) -> dict[str, Any]:
    """Return the person who is named so, or all whose name contains the text."""
    people = [text] if text in choices.people else _people_with(_check_text(text), choices)
    if not people:
        names = [actor_name(name) for name in choices.people]
        raise ValueError(
            f"No user called “{shown(text)}” has requested a cancel.{_did_you_mean(text, names)}"
        )
    return {"people": people}


def _parse_exchange(text: str, choices: Choices) -> dict[str, Any]:
    """Return the exchange with this ID or row number, or all whose ID or name contains the text."""
    number = parse_id(text)
    exact = [row for row in choices.exchanges if row.exchange_id == text] or [
        row for row in choices.exchanges if row.pk == number
    ]
    exchanges = exact or _exchanges_with(_check_text(text), choices)
    if not exchanges:
        names = [row.exchange_id for row in choices.exchanges]
        raise ValueError(
            f"There is no exchange with this ID or name: “{shown(text)}”."
            f"{_did_you_mean(text, names)}"
        )
    return {"exchanges": exchanges}


def _parse_outcome(text: str, _: Choices) -> dict[str, Any]:
    if text not in OUTCOMES:
        labels = [choice.label for choice in OUTCOMES.values()]
        raise ValueError(
            f"“{shown(text)}” is not an outcome. Choose one from the list."
            f"{_did_you_mean(text.replace('_', ' '), labels)}"
        )
    return {"outcome": text}


def _parse_by(text: str, _: Choices) -> dict[str, Any]:
    if text not in set(By):
        raise ValueError(f"“{shown(text)}” is not one of: {', '.join(By)}.")
    return {"by": By(text)}


def _parse_size(text: str, _: Choices) -> dict[str, Any]:
    if parse_id(text) not in SIZES:
        raise ValueError(f"A page has {', '.join(map(str, SIZES[:-1]))} or {SIZES[-1]} cancels.")
    return {"size": int(text)}


def _parse_search(text: str, choices: Choices) -> dict[str, Any]:
    return {
        "q": _check_text(text),
        "q_people": _people_with(text, choices),
        "q_exchanges": _exchanges_with(text, choices),
    }


PARSERS: Final = {
    "person": _parse_person,
    "exchange": _parse_exchange,
    "outcome": _parse_outcome,
    "reason": lambda text, _: {"reason": _check_text(text)},
    "q": _parse_search,
    "by": _parse_by,
    "size": _parse_size,
}


def read_days(texts: Mapping[str, str], errors: dict[str, str]) -> dict[str, Any]:
    """Return the first and the last day. Days that are given count more than a period's."""
    days: dict[str, date] = {}
    for name in ("from", "to"):
        if name in texts:
            try:
                days[name] = date.fromisoformat(texts[name])
            except ValueError:
                errors[name] = f"“{shown(texts[name])}” is not a day. Write it as 2026-11-28."
    first, last = days.get("from"), days.get("to")
    if first and last and first > last:
        errors["to"] = "To must not be before From."
    period = texts.get("period", "")
    if period and period not in set(Period):
        names = ", ".join(Period)
        errors["period"] = f"“{shown(period)}” is not a period. The periods are {names}."
    elif period == Period.CUSTOM and not texts.keys() & {"from", "to"}:
        errors["from"] = "Enter the first day, the last day, or both."
    if days or errors.keys() & {"period", "from", "to"}:
        return {"first": first, "last": last}
    return _days_of(period, today=datetime.now(UTC).date())


def _days_of(period: str, *, today: date) -> dict[str, date]:
    match period:
        case Period.TODAY:
            return {"first": today, "last": today}
        case Period.YESTERDAY:
            return {"first": today - timedelta(days=1), "last": today - timedelta(days=1)}
        case Period.WEEK:
            return {"first": today - timedelta(days=6), "last": today}
        case Period.MONTH:
            return {"first": today.replace(day=1), "last": today}
        case _:
            return {}
