"""The pages of the list of requests, newest first, and what changes while one is open."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Final, Self

from django.db.models import QuerySet
from django.http import QueryDict

from killswitch.cancels.models import Batch, CancelRequest
from killswitch.cancels.request_filter_fields import By, Choices
from killswitch.cancels.request_filters import RequestFilter
from killswitch.cancels.request_outcomes import OUTCOMES
from killswitch.cancels.request_rows import CancelRow, rows_of
from killswitch.runtime.days import PERIOD_LABELS
from killswitch.runtime.filter_values import PAGE_SIZES, FilterLink
from killswitch.runtime.http import parse_id
from killswitch.runtime.text import pluralize_count

MAX_COUNTED: Final = 10_000
MAX_COUNTED_IN_NOTE: Final = 1_000
NEWEST: Final = "newest"


@dataclass(frozen=True, kw_only=True)
class PageName:
    """Under which name the poller asks for the changes of a page of the list."""

    begins: int | None = None  # the batch before which the page begins; None for the newest page
    revision: int | None = None  # when the page was loaded
    day: date | None = None
    query: str = ""

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the page of this name, None for a name that cannot be understood."""
        begins, *rest = text.split(":", 3)
        pk = parse_id(begins)
        if len(rest) not in {0, 3} or (pk is None and begins != NEWEST):
            return None
        revision, day, query = rest or ("", "", "")
        try:
            loaded_on = date.fromisoformat(day) if day else None
        except ValueError:
            return None
        return cls(begins=pk, revision=parse_id(revision), day=loaded_on, query=query)

    def __str__(self) -> str:
        begins = NEWEST if self.begins is None else str(self.begins)
        return f"{begins}:{self.revision}:{self.day}:{self.query}"

    @property
    def is_outdated(self) -> bool:
        """Return True if the page is of an earlier day, so that its "yesterday" is another one."""
        return self.day is not None and self.day != datetime.now(UTC).date()


@dataclass(frozen=True, kw_only=True)
class ListPage:
    """Some cancels, newest first, and where this page and the next one begin."""

    selection: RequestFilter
    name: PageName
    rows: Sequence[CancelRow]
    older: int | None
    count: str
    left_out: str
    in_progress: str

    @classmethod
    def of(cls, selection: RequestFilter, *, before: int | None, revision: int) -> Self:
        """Read the page of the cancels older than this one, or the newest page."""
        batches = selection.batches()
        page = batches.filter(pk__lt=before) if before is not None else batches
        found = list(page.select_related("retry_of")[: selection.size + 1])
        has_more = len(found) > selection.size
        found = found[: selection.size]
        is_failed = selection.outcome == "not_confirmed"
        return cls(
            selection=selection,
            name=PageName(
                begins=before,
                revision=revision,
                day=datetime.now(UTC).date(),
                query=selection.to_query(),
            ),
            rows=rows_of(found, selection=selection),
            older=found[-1].pk if has_more else None,
            count=_count_text(batches, found, before=before, has_more=has_more),
            left_out=_requests_text(selection.left_out(), noun="request"),
            in_progress=_requests_text(
                selection.with_outcome("in_progress").requests(), noun="more request"
            )
            if is_failed
            else "",
        )

    @property
    def periods(self) -> list[FilterLink]:
        texts = self.selection.texts
        links = [("", "Any time"), *PERIOD_LABELS.items()]
        return [
            FilterLink(
                label=label,
                query=self.selection.to_query(period=period, **{"from": "", "to": ""}),
                is_current=texts.get("period", "") == period,
            )
            for period, label in links
        ]

    @property
    def outcomes(self) -> list[FilterLink]:
        links = {"": "Any outcome", **{name: row.label for name, row in OUTCOMES.items()}}
        names = ["", "not_confirmed", "in_progress"]
        if self.selection.outcome not in names:
            names.append(self.selection.outcome)
        return [
            FilterLink(
                label=links[name],
                query=self.selection.to_query(outcome=name),
                is_current=self.selection.outcome == name,
            )
            for name in names
        ]

    @property
    def sizes(self) -> list[FilterLink]:
        return [
            FilterLink(
                label=str(size),
                query=self.selection.to_query(size=str(size)),
                is_current=self.selection.size == size,
            )
            for size in PAGE_SIZES
        ]

    @property
    def query(self) -> str:
        return self.selection.to_query()

    @property
    def query_of_all(self) -> str:
        return self.selection.to_query(by=By.ALL)

    @property
    def query_in_progress(self) -> str:
        return self.selection.to_query(outcome="in_progress")


def changed_rows(name: PageName, *, since: int, max_rows: int) -> list[tuple[CancelRow, bool]]:
    """Return the cancels that have changed, oldest first, and whether the page may add each one.

    Only the newest page adds cancels, those that match. A cancel that does not match any more is
    returned as well: where it is shown, it stays with its new outcome. Raises `InvalidFilter`.
    """
    selection = RequestFilter.from_query(QueryDict(name.query), choices=Choices.now())
    changed = CancelRequest.objects.filter(revision__gt=since)
    batches = Batch.objects.filter(pk__in=changed.values("batch")).order_by("id")
    if name.begins is not None:
        batches = batches.filter(pk__lt=name.begins)
    found = list(batches.select_related("retry_of")[: max_rows + 1])
    added: set[int] = set()
    if name.begins is None:
        matches = selection.batches().filter(pk__in=[batch.pk for batch in found])
        added = set(matches.values_list("pk", flat=True))
    rows = rows_of(found, selection=selection, loaded=name.revision)
    return [(row, row.batch.pk in added) for row in rows]


def _bounded(rows: QuerySet[Batch]) -> int:
    """Return how many rows there are, counting only so far that it cannot take long."""
    return rows.order_by()[: MAX_COUNTED + 1].count()


def _requests_text(rows: QuerySet[CancelRequest], *, noun: str) -> str:
    """Return how many requests a note next to the list is about; "" for none."""
    count = rows.order_by()[: MAX_COUNTED_IN_NOTE + 1].count()
    if count > MAX_COUNTED_IN_NOTE:
        return f"more than {MAX_COUNTED_IN_NOTE:,} {noun}s"
    return pluralize_count(count, noun) if count else ""


def _count_text(
    batches: QuerySet[Batch], found: Sequence[Batch], *, before: int | None, has_more: bool
) -> str:
    """Return e.g. "3 cancels", "50 of 300 cancels" or "51 to 100 of 300 cancels"."""
    if before is None and not has_more:
        return pluralize_count(len(found), "cancel")
    count = _bounded(batches)
    total = f"more than {MAX_COUNTED:,}" if count > MAX_COUNTED else f"{count:,}"
    if before is None:
        return f"{len(found)} of {total} cancels"
    newer = _bounded(batches.filter(pk__gte=before))
    if not found or newer > MAX_COUNTED:
        return f"{len(found)} older ones of {total} cancels"
    return f"{newer + 1:,} to {newer + len(found):,} of {total} cancels"
