"""The evidence of one cancel on one page: what was requested, done, seen and logged."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Self

from django.db.models import Prefetch, Q
from django.utils import timezone

from killswitch.alarms.models import Alarm, AlarmKind
from killswitch.audit.models import AuditEvent, EventKind
from killswitch.cancels.models import Attempt, Batch, CancelRequest, Origin
from killswitch.cancels.request_page import AttemptRun
from killswitch.cancels.status_display import second_look_text
from killswitch.cancels.view_models import sorted_requests, summary
from killswitch.compliance.verification_badge import Badge
from killswitch.holds.models import Hold

# `not_included` of a batch: why an exchange was left out.
WHY_NOT_INCLUDED: Final = {"not_enabled": "not enabled here", "disabled": "disabled here"}


@dataclass(frozen=True, kw_only=True)
class RequestEvidence:
    """The outcome on one exchange, with its attempts, the orders left open and its second looks."""

    request: CancelRequest
    second_look: str

    @classmethod
    def of(cls, request: CancelRequest) -> Self:
        looks = request.second_looks.all()
        return cls(request=request, second_look=second_look_text(request, looks))

    @property
    def runs(self) -> list[AttemptRun]:
        return AttemptRun.of(list(self.request.attempts.all()))

    @property
    def unlisted(self) -> int:
        """Return how many open orders are known only by their number."""
        return (self.request.open_after or 0) - len(self.request.residual_orders.all())


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """One cancel with everything that was recorded of it, read in a fixed number of queries."""

    batch: Batch
    requests: Sequence[RequestEvidence]
    retries: Sequence[Batch]
    alarms: Sequence[Alarm]
    holds: Sequence[Hold]
    events: Sequence[AuditEvent]
    badge: Badge
    generated_at: datetime

    @classmethod
    def of(cls, batch: Batch) -> Self:
        """Read the evidence of a batch."""
        requests = sorted_requests(
            batch.requests.select_related("configured_exchange").prefetch_related(
                Prefetch("attempts", Attempt.objects.defer("body")),
                "residual_orders",
                "second_looks",
            )
        )
        for request in requests:
            request.batch = batch
        uuids = [str(request.uuid) for request in requests]
        return cls(
            batch=batch,
            requests=[RequestEvidence.of(request) for request in requests],
            retries=list(batch.retries.order_by("id")),
            alarms=list(
                Alarm.objects.filter(
                    Q(request_id__in=uuids) | Q(kind=AlarmKind.BREAK_GLASS, subject=str(batch.uuid))
                ).order_by("raised_at", "id")
            ),
            holds=list(batch.holds.order_by("id")),
            events=_events(batch, uuids),
            # Last, so that it may cover the events above, and never fewer than it says.
            badge=Badge.now(),
            generated_at=timezone.now(),
        )

    @property
    def is_final(self) -> bool:
        return all(entry.request.is_final for entry in self.requests)

    @property
    def summary(self) -> str:
        return summary([entry.request for entry in self.requests])

    @property
    def not_included(self) -> list[dict[str, Any]] | None:
        """Return what the cancel left out, as recorded with it; None if that was not recorded."""
        rows = self.batch.not_included
        if rows is None:
            return None
        return [row | {"words": WHY_NOT_INCLUDED.get(row["why"], row["why"])} for row in rows]

    @property
    def is_covered(self) -> bool:
        """Return True if the last verification reached the newest of these events."""
        last = self.badge.last
        newest = max((event.seq for event in self.events), default=0)
        return last is not None and newest <= last.head_seq


def _events(batch: Batch, uuids: Sequence[str]) -> list[AuditEvent]:
    """Return the events of these requests, and those of the batch that name no request.

    Without their data, which holds the answers of the EMS: the log and its exports have it.
    """
    of_requests = Q(request_id__in=uuids)
    of_batch = Q(kind=EventKind.HOLD_STARTED, data__contains=f'"{batch.uuid}"')
    if batch.origin == Origin.BREAK_GLASS:
        of_batch |= Q(kind=EventKind.BREAK_GLASS_RECORDED, data__contains=f'"{batch.uuid}"')
    if uuids:
        of_batch |= Q(kind=EventKind.PUBLISH_FAILED, data__contains=f'"{uuids[0]}"')
    events = AuditEvent.objects.filter(of_requests | of_batch).defer("data")
    return list(events.order_by("seq"))
