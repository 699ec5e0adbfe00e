"""What a person can do: cancel all orders on one exchange or many, and add the reason later."""

import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

import structlog
from django.db import DatabaseError, connection, transaction
from django.db.models import Q

from killswitch.accounts.models import User
from killswitch.audit.actors import SYSTEM, Actor
from killswitch.audit.canonical_json import utc_text
from killswitch.audit.models import EventKind
from killswitch.audit.recorder import Recording, recording
from killswitch.cancels import event_data, press_keys, publishing
from killswitch.cancels.confirmation import Reason, Target
from killswitch.cancels.exclusions import find_exclusions
from killswitch.cancels.models import Batch, CancelRequest, Origin
from killswitch.exchanges.models import Exchange
from killswitch.runtime.background_log import BACKGROUND_LOG
from killswitch.runtime.bulk_insert import insert_rows
from killswitch.runtime.compiled_query import CompiledQuery
from killswitch.runtime.foreign_keys import check_foreign_keys_at_once
from killswitch.runtime.text import clean_line, error_line
from killswitch.runtime.time_limit import answered_within

MAX_REASON_CHARS = 500
# Longer than the database waits for a lock, and shorter than the browser waits for the answer.
MAX_ANSWER_S = 4.0

PressRecorder = Callable[[Recording, Batch, Sequence[CancelRequest], Actor], None]
# What else a press records in its transaction, once the revision is taken: packages above add it.
press_recorders: list[PressRecorder] = []

REQUESTS_PER_LINE = 40  # a longer value would be cut

log = structlog.get_logger(__name__)

_pk_by_key = CompiledQuery(
    lambda key: Batch.objects.filter(key=key).order_by().values_list("pk"), parameters=1
)


class _RolledBack(Exception):
    """Ends a transaction that must not be committed."""


class NothingToCancel(Exception):
    """None of the exchanges is enabled here."""


class NotRecorded(Exception):
    """The database did not take the request, so nothing was sent."""


class CommitOutcomeUnknown(Exception):
    """The database went away at the commit: the request may have been recorded."""


class NotTheRequester(Exception):
    """Only the person who requested the cancel may complete the reason."""


class EmptyReason(Exception):
    """The reason contains no letter and no digit."""


class DetailsMissing(Exception):
    """The reason is "Other" without details, which explains nothing."""


class ReasonTooLong(Exception):
    """The reason has more than `MAX_REASON_CHARS` characters; it is not saved shortened."""


class AlreadyCompleted(Exception):
    """The reason was completed before; it cannot be changed."""


@dataclass(frozen=True, kw_only=True)
class PressContext:
    """Who requested a cancel, from where, how and why, as the browser sent it."""

    user: User
    address: str = ""
    user_agent: str = ""
    gesture: str = ""
    reason: str = ""
    hold: bool = False  # keep cancelling there from now on


@dataclass(frozen=True, kw_only=True)
class CancelResult:
    """The batch, the ids of its requests, and whether an earlier press with this key made it."""

    batch: Batch
    ids: Sequence[int]
    repeated: bool


def request_cancel(*, target: Target, key: str, press: PressContext) -> CancelResult:
    """Record a press and hand it to the workers.

    The same key returns the batch that it made the first time. Raises `press_keys.InvalidKey`,
    `press_keys.UnusableKey`, `NothingToCancel` and, when the database fails, `NotRecorded` or
    `CommitOutcomeUnknown`.
    """
    try:
        nonce = press_keys.read(key, user_id=press.user.pk, target=target.signed_text)
    except press_keys.UnusableKey as error:
        # Its group may have changed, or its time have passed, since it recorded a press. Any other
        # key of another target is refused: that press would be shown as this one.
        may_be_same_press = bool(target.group) or isinstance(error, press_keys.KeyExpired)
        if may_be_same_press and (earlier := _earlier_result_or_not_recorded(error.nonce)):
            return earlier
        raise
    batch = Batch(
        key=nonce,
        by=press.user,
        origin=Origin.BROWSER,
        address=clean_line(press.address, max_chars=100),
        user_agent=clean_line(press.user_agent, max_chars=500),
        gesture=clean_line(press.gesture, max_chars=100),
        hold=press.hold,
    )
    return _record_once(batch, target=target, by=press.user.actor, reason=press.reason)


def request_cancel_from_command_line(
    *, target: Target, by: Actor, reason: str, hold: bool = False
) -> CancelResult:
    """Record a press from the command line of this machine.

    Raises `NothingToCancel`, `NotRecorded` and `CommitOutcomeUnknown`.
    """
    batch = Batch(
        key=secrets.token_urlsafe(16),
        origin=Origin.COMMAND_LINE,
        gesture="command",
        hold=hold,
    )
    return _record_once(batch, target=target, by=by, reason=reason)


def record_and_roll_back() -> None:
    """Record a cancel on one exchange as a click does, and roll it back.

    Raises what a click would meet: `django.db.Error`, and `NothingToCancel`.
    """
    exchanges = Exchange.objects.enabled().order_by("id")[:1]
    batch = Batch(
        key=secrets.token_urlsafe(16), origin=Origin.COMMAND_LINE, asked_at=datetime.now(UTC)
    )
    with suppress(_RolledBack), recording() as record:
        _record(record, batch, target=Target(exchanges=tuple(exchanges)), by=SYSTEM)
        record.write_events()
        raise _RolledBack


def complete_reason(*, batch: Batch, user: User, reason: str) -> Batch:
    """Add a reason to a press, once. What was written at the press stays.

    Raises `NotTheRequester`, `AlreadyCompleted`, `EmptyReason`, `DetailsMissing` and
    `ReasonTooLong`.
    """
    if batch.by_id != user.pk:
        raise NotTheRequester
    if batch.completed_at is not None:
        raise AlreadyCompleted
    # One character more, so that a reason that is too long is refused and not cut.
    text = clean_line(reason, max_chars=MAX_REASON_CHARS + 1)
    if not any(map(str.isalnum, text)):
        raise EmptyReason
    if Reason.parse(text).is_bare_other:
        raise DetailsMissing
    if len(text) > MAX_REASON_CHARS:
        raise ReasonTooLong
    now = datetime.now(UTC)
    with recording() as record:
        incomplete = Batch.objects.filter(pk=batch.pk, completed_at=None)
        if not incomplete.update(completed_reason=text, completed_at=now):
            raise AlreadyCompleted
        requests = batch.requests.select_for_update().order_by("id")
        for request in requests:
            record.event(
                EventKind.REASON_COMPLETED,
                actor=user.actor,
                exchange_id=request.exchange_id,
                request_id=str(request.uuid),
                data={
                    "batch": str(batch.uuid),
                    "original": batch.reason,
                    "reason": text,
                    "completed_at": utc_text(now),
                },
            )
        record.changed(batch.requests.all())
    batch.refresh_from_db()
    return batch


def _record_once(batch: Batch, *, target: Target, by: Actor, reason: str) -> CancelResult:
    """Record the press, or return the batch that an earlier press with this key has made."""
    batch.everywhere = target.everywhere
    batch.group_name = target.group.name if target.group else ""
    batch.retry_of = target.retry_of
    batch.by_name, batch.by_role = by.name, by.role
    batch.reason = clean_line(reason, max_chars=MAX_REASON_CHARS)
    batch.reason_altered = batch.reason != reason.strip()
    batch.asked_at = datetime.now(UTC)
    if earlier := _earlier_result_or_not_recorded(batch.key):
        return earlier
    is_written = False
    try:
        with answered_within(MAX_ANSWER_S), recording() as record:
            ids = _record(record, batch, target=target, by=by)
            # Without this, a log that refuses the events could not be told from a failed commit.
            record.write_events()
            is_written = True
    except DatabaseError as error:
        return _result_after_failure(batch.key, error, at_commit=is_written)
    return CancelResult(batch=batch, ids=ids, repeated=False)


def _record(record: Recording, batch: Batch, *, target: Target, by: Actor) -> list[int]:
    """Record the batch, a request for each enabled exchange, and their events."""
    check_foreign_keys_at_once()
    pks = {exchange.pk for exchange in target.exchanges}
    disabled_ones = Q(enabled=False) if target.everywhere else Q()
    wanted = Exchange.objects.filter(Q(pk__in=pks) | disabled_ones)
    rows = list(wanted.only("exchange_id", "enabled", "open_orders", "seen_at"))
    exchanges = [exchange for exchange in rows if exchange.enabled]
    if not exchanges:
        raise NothingToCancel
    disabled = [exchange for exchange in rows if not exchange.enabled]
    batch.not_included = find_exclusions(
        included=exchanges, disabled=disabled, everywhere=target.everywhere
    )
    batch.save(force_insert=True)
    requests = [
        CancelRequest(
            batch=batch,
            configured_exchange=exchange,
            exchange_id=exchange.exchange_id,
            open_before=exchange.open_orders,
            open_before_seen_at=exchange.seen_at,
            revision=record.revision,
        )
        for exchange in exchanges
    ]
    insert_rows(requests)
    for number, request in enumerate(requests):
        data = event_data.of_press(request, batch)
        if number:  # the list may be long, and the others have its total
            del data["not_included"]
        record.event(
            EventKind.REQUESTED,
            actor=by,
            exchange_id=request.exchange_id,
            request_id=str(request.uuid),
            status=request.status,
            data=data,
        )
    for record_also in press_recorders:
        record_also(record, batch, requests, by)
    ids = [request.pk for request in requests]
    transaction.on_commit(partial(publishing.publish, ids))
    if batch.origin == Origin.BROWSER:  # a command prints the IDs itself
        transaction.on_commit(partial(_log_recorded, batch, requests))
    return ids


def _log_recorded(batch: Batch, requests: Sequence[CancelRequest]) -> None:
    """Connect the ID of the HTTP request, which the line has, with those of the requests."""
    for start in range(0, len(requests), REQUESTS_PER_LINE):
        uuids = [str(request.uuid) for request in requests[start : start + REQUESTS_PER_LINE]]
        BACKGROUND_LOG.info(
            log, "cancel_recorded", batch=str(batch.uuid), by=batch.by_name, requests=uuids
        )


def _result_after_failure(key: str, failure: DatabaseError, *, at_commit: bool) -> CancelResult:
    """Return the batch if it was recorded after all, e.g. by the faster one of a double click.

    Raises `NotRecorded`, or `CommitOutcomeUnknown`: on a server, a commit that was cut off may
    still be under way where it cannot be seen yet.
    """
    log.error("press_not_recorded", error=error_line(failure), at_commit=at_commit)
    if not connection.in_atomic_block:
        connection.close()  # it may be what failed
    try:
        earlier = _earlier_result(key)
    except DatabaseError:
        raise CommitOutcomeUnknown from failure
    if earlier:
        return earlier
    if at_commit and connection.vendor == "postgresql":
        raise CommitOutcomeUnknown from failure
    raise NotRecorded from failure


def _earlier_result_or_not_recorded(key: str) -> CancelResult | None:
    try:
        return _earlier_result(key)
    except DatabaseError as error:
        raise NotRecorded from error


def _earlier_result(key: str) -> CancelResult | None:
    row = _pk_by_key.first(key) if key else None
    if row is None:
        return None
    batch = Batch.objects.get(pk=row[0])
    ids = list(batch.requests.order_by("id").values_list("id", flat=True))
    return CancelResult(batch=batch, ids=ids, repeated=True)
