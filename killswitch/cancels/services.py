"""What a person may ask: cancel all, on one exchange or many, and say why afterwards."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from django.db import DatabaseError, connection, transaction

from killswitch.accounts.decorators import actor
from killswitch.accounts.models import User
from killswitch.accounts.words import said
from killswitch.audit import chain
from killswitch.audit.canonical_json import utc_text
from killswitch.audit.chain import Actor, NewEvent
from killswitch.audit.models import Kind
from killswitch.cancels import event_data, press_keys, publishing
from killswitch.cancels.models import Batch, CancelRequest, Origin
from killswitch.exchanges.models import Exchange
from killswitch.runtime.revisions import next_revision

MAX_REASON_CHARS = 500  # characters


class NothingToCancel(Exception):
    """None of the exchanges is enabled here."""


class NotRecorded(Exception):
    """The database did not take the request, so nothing was sent."""


class CommitOutcomeUnknown(Exception):
    """The database went away at the commit: the request may have been recorded."""


class NotTheRequester(Exception):
    """Only the person who pressed may complete the reason."""


class EmptyReason(Exception):
    """Of the reason nothing is left that can be read."""


class AlreadyCompleted(Exception):
    """The reason was completed before; it is not edited."""


@dataclass(frozen=True, kw_only=True)
class PressContext:
    """Who pressed, from where, how, and why: all as it came."""

    user: User
    address: str = ""
    user_agent: str = ""
    gesture: str = ""
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class CancelResult:
    """The batch, and whether this key had been used before."""

    batch: Batch
    repeated: bool
    ids: Sequence[int]


def request_cancel(
    *, exchanges: Sequence[Exchange], everywhere: bool, key: str, press: PressContext
) -> CancelResult:
    """Record a press and hand it to whoever carries it out.

    The same key gives the batch that it made the first time. Raises `keys.Forged`,
    `keys.Foreign`, `NothingToCancel`, or, when the database fails, `NotRecorded` or `NotKnown`.
    """
    target = press_keys.target_of(exchanges, everywhere=everywhere)
    nonce = press_keys.read(key, user_id=press.user.pk, target=target)
    batch = Batch(
        key=nonce,
        by=press.user,
        origin=Origin.BROWSER,
        address=said(press.address, 100)[0],
        user_agent=said(press.user_agent, 500)[0],
        gesture=said(press.gesture, 100)[0],
        everywhere=everywhere,
    )
    return _request_cancel(batch, exchanges=exchanges, who=actor(press.user), reason=press.reason)


def request_cancel_from_command_line(
    *, exchanges: Sequence[Exchange], everywhere: bool, who: Actor, reason: str
) -> CancelResult:
    """The same for somebody at the machine's own command line. Raises as `request_cancel`."""
    batch = Batch(
        key=secrets.token_urlsafe(16),
        origin=Origin.COMMAND_LINE,
        gesture="command",
        everywhere=everywhere,
    )
    return _request_cancel(batch, exchanges=exchanges, who=who, reason=reason)


def complete_reason(*, batch: Batch, user: User, reason: str) -> Batch:
    """Say afterwards why. The first words stay; these stand beside them, once.

    Raises `NotYours`, `NothingSaid` and `AlreadyCompleted`.
    """
    if batch.by_id != user.pk:
        raise NotTheRequester
    text, _ = said(reason, MAX_REASON_CHARS)
    if not text:
        raise EmptyReason
    now = datetime.now(UTC)
    with transaction.atomic():
        first = Batch.objects.filter(pk=batch.pk, completed_at=None)
        if not first.update(completed_reason=text, completed_at=now):
            raise AlreadyCompleted
        # Locked before the revision is raised, as everywhere: the other order could deadlock.
        requests = list(batch.requests.select_for_update().order_by("id"))
        batch.requests.update(revision=next_revision())
        chain.append(
            *(
                NewEvent(
                    kind=Kind.REASON_COMPLETED,
                    actor=actor(user),
                    exchange_id=request.exchange_id,
                    request_id=str(request.uuid),
                    data={
                        "batch": str(batch.uuid),
                        "original": batch.reason,
                        "reason": text,
                        "completed_at": utc_text(now),
                    },
                )
                for request in requests
            )
        )
    batch.refresh_from_db()
    return batch


def _request_cancel(
    batch: Batch, *, exchanges: Sequence[Exchange], who: Actor, reason: str
) -> CancelResult:
    batch.by_name, batch.by_role = who.name, who.role
    batch.reason, batch.reason_altered = said(reason, MAX_REASON_CHARS)
    batch.asked_at = datetime.now(UTC)
    try:
        if before := _made_before(batch.key):
            return before
    except DatabaseError as error:
        raise NotRecorded from error
    written: CancelResult | None = None
    try:
        with transaction.atomic():
            written = _record(batch, exchanges=exchanges, who=who)
    except DatabaseError as error:
        # The twin of a double click was a moment faster, or the commit's answer was lost.
        return _look_again(batch.key, error, at_commit=written is not None)
    return written


def _look_again(key: str, failure: DatabaseError, *, at_commit: bool) -> CancelResult:
    """What became of a recording that failed, as the database tells. Raises what is known.

    A commit that was cut off may still be under way in a server of its own, not yet to be seen.
    """
    if not connection.in_atomic_block:
        connection.close()  # the old one may be what failed
    try:
        before = _made_before(key)
    except DatabaseError:
        raise CommitOutcomeUnknown from failure
    if before:
        return before
    if at_commit and connection.vendor == "postgresql":
        raise CommitOutcomeUnknown from failure
    raise NotRecorded from failure


def _made_before(key: str) -> CancelResult | None:
    batch = Batch.objects.filter(key=key).first()
    if batch is None:
        return None
    ids = list(batch.requests.order_by("id").values_list("id", flat=True))
    return CancelResult(batch=batch, repeated=True, ids=ids)


def _record(batch: Batch, *, exchanges: Sequence[Exchange], who: Actor) -> CancelResult:
    """In one transaction of the caller's: the press, a request for each exchange, their events."""
    _check_references_at_once()
    wanted = [exchange.pk for exchange in exchanges]
    covered = list(Exchange.objects.enabled().filter(pk__in=wanted))
    if not covered:
        raise NothingToCancel
    batch.save(force_insert=True)
    revision = next_revision()
    requests = CancelRequest.objects.bulk_create(
        CancelRequest(
            batch=batch,
            configured_exchange=exchange,
            exchange_id=exchange.exchange_id,
            open_before=exchange.open_orders,
            open_before_seen_at=exchange.seen_at,
            revision=revision,
        )
        for exchange in covered
    )
    ids = [request.pk for request in requests]
    chain.append(*(_requested(request, batch=batch, who=who) for request in requests))
    transaction.on_commit(partial(publishing.publish, ids))
    return CancelResult(batch=batch, repeated=False, ids=ids)


def _check_references_at_once() -> None:
    """PostgreSQL would check them, and lock the person's row for it, only at the commit.

    By then the log is locked, and whoever changes that person waits for the log: a circle.
    """
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")


def _requested(request: CancelRequest, *, batch: Batch, who: Actor) -> NewEvent:
    return NewEvent(
        kind=Kind.REQUESTED,
        actor=who,
        exchange_id=request.exchange_id,
        request_id=str(request.uuid),
        status=request.status,
        data=event_data.of_press(request, batch),
    )
