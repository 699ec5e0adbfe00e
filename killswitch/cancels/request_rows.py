"""The rows of the list of requests: each is one cancel, however many exchanges it has."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final
from uuid import UUID

from killswitch.cancels.models import Batch, CancelRequest
from killswitch.cancels.request_filters import RequestFilter
from killswitch.cancels.request_outcomes import OUTCOMES, outcome_name
from killswitch.cancels.status_display import elapsed, progress_counts, status_badge
from killswitch.runtime.http import MAX_ID, addresses
from killswitch.runtime.text import escape_controls, pluralize_count

MAX_SHOWN: Final = 20  # requests of one cancel; its own page has all of them
SAMPLE_UUID: Final = UUID(int=0)


@dataclass(frozen=True, kw_only=True)
class ResultPart:
    """How many requests of a cancel have one outcome."""

    icon: str
    tone: str
    words: str


class Addresses:
    """The addresses of the rows of one page."""

    def __init__(self) -> None:
        self.of_batch = addresses("batch", sample=SAMPLE_UUID)
        self.of_request = addresses("request", sample=SAMPLE_UUID)
        self.of_exchange = addresses("exchange", sample=MAX_ID)


class RequestLine:
    """One request as a row lists it, with its badge, its addresses, and a note on its progress."""

    def __init__(self, request: CancelRequest, *, to: Addresses) -> None:
        self.pk = str(request.pk)  # a number would be formatted in the language of the page
        self.uuid = str(request.uuid)
        self.status = request.status
        self.exchange_id = request.exchange_id
        self.address = to.of_request(request.uuid)
        self.address_of_exchange = to.of_exchange(request.configured_exchange_id)
        badge = status_badge(request)
        self.icon, self.tone = badge.icon, badge.tone
        self.words = escape_controls(badge.words, keep="\n\t")
        duration = elapsed(request)
        took = f"took {duration}" if duration else ""
        self.note = took if request.is_final else progress_counts(request)


@dataclass(frozen=True, kw_only=True)
class CancelRow:
    """One cancel: all its requests, and those that the row lists."""

    batch: Batch
    requests: Sequence[CancelRequest]
    listed: Sequence[CancelRequest]
    is_open: bool
    to: Addresses

    @cached_property
    def address(self) -> str:
        return self.to.of_batch(self.batch.uuid)

    @cached_property
    def address_of_retried(self) -> str:
        """Return the address of the cancel that this one repeats, "" without any."""
        return self.to.of_batch(self.batch.retry_of.uuid) if self.batch.retry_of else ""

    @cached_property
    def lines(self) -> list[RequestLine]:
        """Return the requests that the row lists, and always the only one."""
        requests = [self.only] if self.only else self.listed
        return [RequestLine(request, to=self.to) for request in requests]

    @cached_property
    def only(self) -> CancelRequest | None:
        """The request, when the cancel is of a single exchange."""
        return self.requests[0] if len(self.requests) == 1 else None

    @cached_property
    def target(self) -> str:
        """Return what was cancelled, e.g. "All 60 exchanges"; "" for a single exchange."""
        count = len(self.requests)
        if self.batch.group_name:
            return f"{self.batch.group_name} ({pluralize_count(count, 'exchange')})"
        if self.batch.everywhere:
            return f"All {count} exchanges" if count > 1 else "All exchanges: 1"
        return f"{count} exchanges" if count > 1 else ""

    @cached_property
    def unlisted(self) -> str:
        """Return what the row does not list, e.g. "40 more, 3 of them not confirmed"."""
        listed = {request.pk for request in self.listed}
        others = [request for request in self.requests if request.pk not in listed]
        if not others:
            return ""
        bad = sum(request.needs_attention for request in others)
        return f"{len(others)} more{f', {bad} of them not confirmed' if bad else ''}"

    @cached_property
    def good_parts(self) -> list[ResultPart]:
        """Return what was confirmed, what is in progress, and what else needs no attention."""
        calm = [request for request in self.requests if not request.needs_attention]
        in_progress = [request for request in calm if not request.is_final]
        parts = _parts(request for request in calm if request.is_final)
        if in_progress:
            words = f"{len(in_progress)} in progress"
            parts.append(ResultPart(icon="arrow", tone="busy", words=words))
        return parts

    @cached_property
    def bad_parts(self) -> list[ResultPart]:
        """Return what needs attention, the worst first."""
        return _parts(request for request in self.requests if request.needs_attention)

    @cached_property
    def bad_count(self) -> int:
        return sum(request.needs_attention for request in self.requests)


def rows_of(
    batches: Sequence[Batch], *, selection: RequestFilter, loaded: int | None = None
) -> list[CancelRow]:
    """Return the rows of these batches, in two queries at most.

    A request that matched when the page was loaded may not match any more, and stays: what has
    changed since the revision `loaded` is listed with what matches.
    """
    requests: dict[int, list[CancelRequest]] = {batch.pk: [] for batch in batches}
    found = CancelRequest.objects.filter(batch__in=batches)
    ordered = found.order_by("configured_exchange__position", "exchange_id")
    for request in ordered.defer("message", "rejected_message"):
        requests[request.batch_id].append(request)
    matching: Collection[int] | None = None
    if selection.is_of_requests:
        matching = set(selection.requests_of(batches).values_list("pk", flat=True))
    to = Addresses()
    rows = []
    for batch in batches:
        for request in requests[batch.pk]:
            request.batch = batch
        listed = _listed(requests[batch.pk], matching=matching, loaded=loaded)
        rows.append(
            CancelRow(
                batch=batch,
                requests=requests[batch.pk],
                listed=listed,
                is_open=matching is not None,
                to=to,
            )
        )
    return rows


def _listed(
    requests: Iterable[CancelRequest], *, matching: Collection[int] | None, loaded: int | None
) -> list[CancelRequest]:
    """Return the requests that a row lists: those that need attention above all."""

    def has_changed(request: CancelRequest) -> bool:
        return loaded is not None and request.revision > loaded

    candidates = [
        request
        for request in requests
        if matching is None or request.pk in matching or has_changed(request)
    ]
    by_urgency = sorted(
        candidates,
        key=lambda request: (
            not request.needs_attention,
            request.is_final,
            not has_changed(request),
        ),
    )
    chosen = {request.pk for request in by_urgency[:MAX_SHOWN]}
    return [request for request in candidates if request.pk in chosen]


def _parts(requests: Iterable[CancelRequest]) -> list[ResultPart]:
    """Return how many of the requests have each outcome, as e.g. "4 rejected"."""
    by_outcome: dict[str, list[CancelRequest]] = {name: [] for name in OUTCOMES}
    for request in requests:
        by_outcome[outcome_name(request)].append(request)
    parts = []
    for name, alike in by_outcome.items():
        if alike:
            badge = status_badge(alike[0])
            words = f"{len(alike)} {OUTCOMES[name].counted}"
            parts.append(ResultPart(icon=badge.icon, tone=badge.tone, words=words))
    return parts
