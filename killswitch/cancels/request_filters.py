"""The filter of the list of requests: read from an address, described and applied.

The page, its poller and the export use the same filter, so that what was seen can be exported.
Days are UTC days. A value that cannot be applied is refused: an unfiltered list would look as if it
matched.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, Self

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import QueryDict

from killswitch.audit.actors import actor_name
from killswitch.cancels.models import Batch, CancelRequest, Origin, ResidualOrder
from killswitch.cancels.request_filter_fields import (
    CUSTOM,
    FIELDS,
    By,
    Choices,
    exchanges_with,
    people_with,
)
from killswitch.cancels.request_outcomes import (
    FAILED_ROWS,
    NOT_CONFIRMED,
    OUTCOMES,
    REOPENED_ROWS,
)
from killswitch.exchanges.models import Exchange
from killswitch.runtime.days import EMPTY_RANGE, Period, day_texts, range_of, range_text, within
from killswitch.runtime.distinct_values import distinct_values
from killswitch.runtime.filter_values import PAGE_SIZES, InvalidFilter, parse_fields, read_query
from killswitch.runtime.lookups import InAnyCase, compared
from killswitch.runtime.text import escape_controls

# The fields whose values are ours: in links as we write them, however they were typed.
CODES: Final = frozenset({"period", "outcome", "by"})
BY_WORDS: Final[Mapping[By, str]] = {
    By.PEOPLE_ONLY: "by people only",
    By.HOLDS: "by Holds",
    By.ALL: "by people and Holds",
}
MAX_LISTED: Final = 3  # names of people or exchanges in the words of a filter
MAX_REJECT_REASONS: Final = 2000  # of which one is looked up, and not every request


@dataclass(frozen=True, kw_only=True)
class RequestFilter:
    """Selects the requests that match all given fields."""

    texts: Mapping[str, str]  # what was given, by its name in an address
    start: datetime | None = None
    end: datetime | None = None  # not included
    people: Sequence[str] | None = None  # None: anybody
    exchanges: Sequence[Exchange] | None = None  # None: any exchange
    outcome: str = ""
    reason: str = ""
    q: str = ""
    by: By = By.PEOPLE
    size: int = PAGE_SIZES[0]
    # What the search text means among the choices.
    q_people: Sequence[str] = ()
    q_exchanges: Sequence[Exchange] = ()

    @classmethod
    def from_query(cls, query: QueryDict, *, choices: Choices) -> Self:
        """Return the filter of an address. Raises `InvalidFilter`."""
        words, errors = read_query(query, FIELDS, others={"before"})
        values = parse_fields(words, FIELDS, choices, errors=errors)
        texts = {name: words[name].strip() for name in FIELDS if words.get(name, "").strip()}
        texts |= {name: str(values[name]) for name in CODES & values.keys()}
        period, start, end = (values.pop(name, None) for name in ("period", "start", "end"))
        if start and end and start >= end:
            errors["to"] = f"To: {EMPTY_RANGE}"
        elif texts.keys() & {"from", "to"}:
            texts["period"] = CUSTOM  # days that are given count more than a period
        elif period == CUSTOM:
            errors["from"] = "From: Enter the first day, the last day, or both."
        elif period:
            start, end = range_of(Period(period), today=datetime.now(UTC).date())
        if errors:
            raise InvalidFilter(errors)
        return cls(
            texts=texts,
            start=start,
            end=end,
            q_people=people_with(values["q"], choices) if "q" in values else (),
            q_exchanges=exchanges_with(values["q"], choices) if "q" in values else (),
            **values,
        )

    def to_query(self, **changes: str) -> str:
        """Return the query string of this filter with some fields changed; "" removes a field."""
        values = {**self.texts, **changes}
        query = QueryDict(mutable=True)
        query.update({name: values[name] for name in FIELDS if values.get(name)})
        return query.urlencode()

    def form_values(self) -> dict[str, str]:
        """Return what the form shows: as it was given, and names where numbers were given."""
        values = dict(self.texts)
        if self.exchanges is not None and len(self.exchanges) == 1:
            values["exchange"] = self.exchanges[0].exchange_id
        if self.people is not None and len(self.people) == 1:
            values["person"] = self.people[0]
        return values

    def as_data(self) -> dict[str, str]:
        """Return the filter as the log records it, with the days that a period stood for."""
        values = {name: text for name, text in self.form_values().items() if name != "size"}
        return values | day_texts(self.start, self.end)

    @property
    def is_everything(self) -> bool:
        """Return True if nothing was selected but the size of the page."""
        return not self.texts.keys() - {"size"}

    @property
    def is_of_requests(self) -> bool:
        """Return True if only some requests of a batch may match."""
        return bool(self.exchanges is not None or self.outcome or self.q)

    @property
    def is_of_failures(self) -> bool:
        """Return True if every matching request is one that is not confirmed."""
        return bool(self.outcome) and OUTCOMES[self.outcome].is_failure

    def describe(self) -> str:
        """Return the filter in words, e.g. "22 to 28 Nov 2026 (UTC), not confirmed"."""
        exchanges = self.exchanges or ()
        parts = [
            range_text(self.start, self.end),
            OUTCOMES[self.outcome].label.lower() if self.outcome else "",
            _list_text("on", [row.exchange_id for row in exchanges], noun="exchanges"),
            _list_text("by", [actor_name(name) for name in self.people or ()], noun="people"),
            self.reason and f"reason contains “{self.reason}”",
            self.q and f"with “{self.q}”",
            BY_WORDS.get(self.by, ""),
        ]
        return escape_controls(", ".join(filter(None, parts)))

    def batches(self) -> QuerySet[Batch]:
        """Return the batches with a matching request, newest first."""
        rows = Batch.objects.filter(self._of_batch("")).order_by("-id")
        if self.outcome and OUTCOMES[self.outcome].is_common:
            # From the newest batch on, which finds a page soon; rare outcomes have an index.
            if self.by is By.PEOPLE:
                rows = rows.exclude(origin=Origin.HOLD)
            return rows.filter(Exists(self.requests().order_by().filter(batch=OuterRef("pk"))))
        if self.is_of_requests:
            return rows.filter(pk__in=self.requests().order_by().values("batch"))
        if self.by is By.PEOPLE:
            # Of people as well, whose are listed anyway: an index finds each half at once.
            return rows.filter(
                ~Q(origin=Origin.HOLD)
                | Q(pk__in=FAILED_ROWS.values("batch"))
                | Q(pk__in=REOPENED_ROWS.values("batch"))
            )
        return rows

    def requests(self) -> QuerySet[CancelRequest]:
        """Return the matching requests, newest first."""
        return CancelRequest.objects.filter(self._of_requests()).order_by("-id")

    def requests_of(self, batches: Sequence[Batch]) -> QuerySet[CancelRequest]:
        """Return the matching requests of these batches, without going through all others."""
        condition = compared(self._of_requests(among=batches))
        return CancelRequest.objects.filter(condition, batch__in=batches).order_by()

    def _of_requests(self, *, among: Sequence[Batch] | None = None) -> Q:
        """Return the condition of the requests; `among` are the only batches to search."""
        condition = self._of_batch("batch__")
        if self.by is By.PEOPLE and not self.outcome:
            condition &= ~Q(batch__origin=Origin.HOLD) | NOT_CONFIRMED
        elif self.by is By.PEOPLE and not self.is_of_failures:
            condition &= ~Q(batch__origin=Origin.HOLD)
        if self.exchanges is not None:
            condition &= Q(configured_exchange__in=self.exchanges)
        if self.outcome:
            condition &= OUTCOMES[self.outcome].condition
        if self.q:
            condition &= self._has_text(among=among)
        return condition

    def left_out(self) -> QuerySet[CancelRequest]:
        """Return the requests of Holds that match and are not listed because they did not fail."""
        holds = replace(self, by=By.HOLDS).requests()
        if self.by is not By.PEOPLE or self.is_of_failures:
            return holds.none()
        return holds if self.outcome else holds.exclude(NOT_CONFIRMED)

    def with_outcome(self, outcome: str) -> "RequestFilter":
        """Return this filter with another outcome."""
        return replace(self, outcome=outcome)

    def _of_batch(self, prefix: str) -> Q:
        """Return the conditions on the batch, whose columns have this prefix."""
        condition = within(f"{prefix}asked_at", start=self.start, end=self.end)
        if self.people is not None:
            condition &= Q(**{f"{prefix}by_name__in": self.people})
        if self.reason:
            condition &= _contains(self.reason, f"{prefix}reason", f"{prefix}completed_reason")
        if self.by is By.HOLDS:
            condition &= Q(**{f"{prefix}origin": Origin.HOLD})
        elif self.by is By.PEOPLE_ONLY:
            condition &= ~Q(**{f"{prefix}origin": Origin.HOLD})
        return condition

    def _has_text(self, *, among: Sequence[Batch] | None) -> Q:
        """Return the condition that a request or its batch has the search text.

        The IDs of orders must be whole, because there may be very many of them. The texts of those
        batches alone are searched that fulfil the other conditions.
        """
        ids = {self.q, self.q.lower(), self.q.upper()}
        of_ids = Q(client_order_id__in=ids) | Q(exchange_order_id__in=ids)
        texts = _contains(self.q, "reason", "completed_reason", "group_name")
        batches = Batch.objects.filter(self._of_batch("")).order_by()
        batches = batches.filter(texts | Q(by_name__in=self.q_people))
        if among is not None:
            batches = batches.filter(pk__in=[batch.pk for batch in among])
        rejected = _rejected_for(self.q)
        orders = ResidualOrder.objects.filter(of_ids).order_by()
        # Subqueries of their own, because one condition on joined rows would use no index.
        return (
            Q(configured_exchange__in=self.q_exchanges)
            | Q(batch__in=batches.values("pk"))
            | Q(pk__in=rejected.values("pk"))
            | Q(pk__in=orders.values("request"))
        )


def _contains(text: str, *columns: str) -> Q:
    """Return the condition that one of the columns contains the text, in any case."""
    condition = Q()
    for column in columns:
        condition |= Q(**{f"{column}__{InAnyCase.lookup_name}": text})
    return condition


def _rejected_for(text: str) -> QuerySet[CancelRequest]:
    """Return the requests whose reject reason contains the text, which an index finds."""
    values = distinct_values(CancelRequest, "reject_reason", limit=MAX_REJECT_REASONS + 1)
    if len(values) > MAX_REJECT_REASONS:
        return CancelRequest.objects.filter(_contains(text, "reject_reason")).order_by()
    pattern = re.compile(re.escape(text), re.IGNORECASE | (re.ASCII if text.isascii() else 0))
    meant = [value for value in values if pattern.search(value)]
    return CancelRequest.objects.filter(reject_reason__in=meant).order_by()


def _list_text(word: str, names: Sequence[str], *, noun: str) -> str:
    if len(names) > MAX_LISTED:
        return f"{word} {len(names)} {noun}"
    return f"{word} {' or '.join(names)}" if names else ""
