"""The working tables that go with the plausible events, so that both can be compared."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID

from django.db import transaction

from bench.plausible import BEGIN
from killswitch.audit.models import AuditEvent, EventKind
from killswitch.cancels.models import Attempt, Batch, CancelRequest
from killswitch.cancels.states import Status
from killswitch.exchanges.models import Exchange

BATCH = 300  # requests; the server ends a session that idles in a transaction for 3 s
Told = tuple[AuditEvent, dict[str, Any]]  # an event, and its data


def load(*, after: int) -> None:
    """Rows for every request that was asked for after this event."""
    some: list[list[Told]] = []
    for request in _requests(after):
        some.append(request)
        if len(some) == BATCH:
            _insert(some)
            some.clear()
    _insert(some)


def _requests(after: int) -> Iterator[list[Told]]:
    """The events of one request after the other; they stand together."""
    events = AuditEvent.objects.filter(seq__gt=after).exclude(request_id="").order_by("seq")
    told: list[Told] = []
    for event in events.iterator(chunk_size=2000):
        if told and event.request_id != told[0][0].request_id:
            yield told
            told = []
        told.append((event, json.loads(event.data)))
    if told:
        yield told


@transaction.atomic
def _insert(some: list[list[Told]]) -> None:
    names = {told[0][0].exchange_id for told in some}
    exchanges = {name: Exchange.objects.get_or_create(exchange_id=name)[0] for name in names}
    batches = Batch.objects.bulk_create(_press(*told[0]) for told in some)
    requests = CancelRequest.objects.bulk_create(
        _request(told, batch=batch, exchange=exchanges[told[0][0].exchange_id])
        for told, batch in zip(some, batches, strict=True)
    )
    Attempt.objects.bulk_create(
        _attempt(data, request=request)
        for told, request in zip(some, requests, strict=True)
        for event, data in told
        if event.kind == EventKind.ATTEMPT
    )


def _press(event: AuditEvent, data: dict[str, Any]) -> Batch:
    names = ("reason", "origin", "user_agent", "address")
    return Batch(
        uuid=UUID(data["batch"]),
        key=data["batch"],
        by_name=event.actor,
        by_role=event.role,
        asked_at=BEGIN,
        **{name: data[name] for name in names},
    )


def _request(told: list[Told], *, batch: Batch, exchange: Exchange) -> CancelRequest:
    (asked, said), (last, ending) = told[0], told[-1]
    request = CancelRequest(
        uuid=UUID(asked.request_id),
        batch=batch,
        configured_exchange=exchange,
        exchange_id=asked.exchange_id,
        open_before=said["open_before"],
        status=Status.SENDING,
        attempt_count=sum(event.kind == EventKind.ATTEMPT for event, _ in told),
        first_claimed_at=BEGIN,
        revision=0,
    )
    if last.kind == EventKind.FINISHED:
        request.status, request.reject_reason = last.status, last.reject_reason
        request.finished_at = request.open_after_read_at = BEGIN
        request.open_after, request.conclusion = ending["open_after"], ending["conclusion"]
    return request


def _attempt(data: dict[str, Any], *, request: CancelRequest) -> Attempt:
    plain = {name: value for name, value in data.items() if not name.endswith("_at")}
    return Attempt(
        request=request,
        started_at=BEGIN,
        finished_at=BEGIN,
        may_have_been_carried_out=False,
        **plain | {"body": data["body"]["text"].encode()},
    )
