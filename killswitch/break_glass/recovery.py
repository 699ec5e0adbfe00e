"""Takes the journal of this host into the audit log, once the database is back.

Each press becomes a batch, its requests, their attempts and their events, all in one transaction:
the UUID of the press is that of its batch, so no press is recorded twice, also after a crash in
between, or by several processes at once. Rows and events have the journal's own times; only the
events are numbered and chained now.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import structlog

from killswitch.accounts.models import User
from killswitch.alarms.models import AlarmKind
from killswitch.alarms.services import raise_alarm
from killswitch.audit.actors import Actor
from killswitch.audit.models import EventKind
from killswitch.audit.recorder import Recording, recording
from killswitch.break_glass import unrecorded
from killswitch.break_glass.journal import Journal
from killswitch.break_glass.journal_reader import Line
from killswitch.break_glass.line_data import check_request
from killswitch.break_glass.press import (
    ATTEMPT,
    END,
    MAX_RESUMED_AGE_S,
    JournaledPress,
    PressedExchange,
    UnreadableLine,
    journaled_presses,
)
from killswitch.break_glass.request_recovery import (
    record_end,
    record_journaled_attempt,
    record_journaled_end,
    settle,
)
from killswitch.cancels import event_data
from killswitch.cancels import recording as requests
from killswitch.cancels.conclusion import AttemptSummary, ListHistory, conclude
from killswitch.cancels.models import Batch, CancelRequest, Origin
from killswitch.cancels.states import Status
from killswitch.exchanges.models import Exchange
from killswitch.runtime.foreign_keys import check_foreign_keys_at_once
from killswitch.runtime.text import pluralize_count

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Recovered:
    """How many presses and requests were recorded now, and how many presses were not.

    `pending` are those still running; `failed` are those that the database did not take.
    """

    recorded: int
    pending: int
    failed: int = 0


def recover(journal: Journal) -> Recovered:
    """Record every press of the journal that is over and not in the log.

    Raises `OSError` and `django.db.Error`; what was recorded until then stays recorded.
    """
    # What is read after a process was found dead has all of its lines; the database may hang.
    home = journal.path.parent
    dead = {
        press.uuid
        for press in journaled_presses(journal.read())
        if not press.may_be_carried_out(home)
    }
    reader = journal.read()
    pending = failed = 0
    count = settle(reader)  # first: watchdogs are about to take these requests over
    presses = journaled_presses(reader)
    uuids = [press.uuid for press in presses]
    recorded = set(map(str, Batch.objects.filter(uuid__in=uuids).values_list("uuid", flat=True)))
    for press in presses:
        if press.uuid in recorded:
            continue
        if press.is_over or press.uuid in dead:
            try:
                count += record_press(press, faults=reader.faults)
            except Exception as error:  # noqa: BLE001 - those after it are recorded all the same
                unrecorded.report(press.line, error)
                failed += 1
        else:
            pending += 1
    for line, reason in unrecorded.unrecordable_lines(reader):
        unrecorded.report(line, reason)
    return Recovered(recorded=count, pending=pending, failed=failed)


def record_press(journaled: JournaledPress, *, faults: Sequence[str]) -> bool:
    """Record one press in one transaction; return False if another process has done so."""
    press = journaled.press
    with recording(then_release_connection=True) as record:
        record.take_revision()  # so that of several processes one records it, and others see it
        if Batch.objects.filter(uuid=press.uuid).exists():
            return False
        check_foreign_keys_at_once()
        unreadable = unreadable_requests(journaled)
        rows = [row for row in press.requests if row.request not in unreadable]
        if not rows:
            raise UnreadableLine("; ".join(unreadable.values()))
        exchanges = _exchanges(record, rows)
        user = User.objects.filter(pk=press.user_id or 0).first()
        batch = Batch.objects.create(
            uuid=UUID(press.uuid),
            key=press.nonce,
            by=user,
            by_name=press.by_name,
            by_role=press.by_role,
            asked_at=datetime.fromisoformat(press.asked_at),
            reason=press.reason,
            reason_altered=press.reason_altered,
            origin=Origin.BREAK_GLASS,
            address=press.address,
            user_agent=press.user_agent,
            gesture=press.gesture,
            everywhere=press.everywhere,
            journal=f"{journaled.line.journal} {journaled.line.seq}",
        )
        for row in rows:
            _record_request(record, batch, row, exchanges[row.exchange_id], journaled)
        reasons = list(unreadable.values())
        _record_recovery(record, journaled, requests=rows, unreadable=reasons, faults=faults)
    log.warning("break_glass_recorded", press=press.uuid, requests=len(rows))
    return True


def unreadable_requests(journaled: JournaledPress) -> dict[str, str]:
    """Return why requests of a press cannot be recorded, by their UUIDs."""
    reasons = {}
    for row in journaled.press.requests:
        try:
            check_request(row, journaled.lines[row.request])
        except UnreadableLine as error:
            reasons[row.request] = f"Request {row.request} cannot be recorded, {error}."
    return reasons


def _exchanges(record: Recording, requests: Sequence[PressedExchange]) -> dict[str, Exchange]:
    """Return the exchanges by their IDs; one that is not configured here is added, disabled."""
    ids = [row.exchange_id for row in requests]
    rows = {row.exchange_id: row for row in Exchange.objects.filter(exchange_id__in=ids)}
    for exchange_id in sorted(set(ids) - rows.keys()):
        exchange = Exchange(exchange_id=exchange_id, enabled=False, revision=record.revision)
        exchange.save(force_insert=True)
        rows[exchange_id] = exchange
        record.event(
            EventKind.EXCHANGE_ADDED,
            exchange_id=exchange_id,
            data={**exchange.recorded_values, "origin": "break glass"},
        )
    return rows


def _record_request(
    record: Recording,
    batch: Batch,
    row: PressedExchange,
    exchange: Exchange,
    journaled: JournaledPress,
) -> None:
    seen_at = row.open_before_seen_at
    request = CancelRequest.objects.create(
        uuid=UUID(row.request),
        batch=batch,
        configured_exchange=exchange,
        exchange_id=row.exchange_id,
        open_before=row.open_before,
        open_before_seen_at=datetime.fromisoformat(seen_at) if seen_at else None,
        revision=record.revision,
    )
    record.event(
        EventKind.REQUESTED,
        actor=Actor(name=batch.by_name, role=batch.by_role),
        exchange_id=request.exchange_id,
        request_id=str(request.uuid),
        status=request.status,
        data=event_data.of_press(request, batch),
    )
    token = str(batch.uuid)
    CancelRequest.objects.filter(pk=request.pk).update(
        status=Status.SENDING, lease_token=token, lease_beats=1, first_claimed_at=batch.asked_at
    )
    lines = journaled.lines[row.request]
    for line in lines:
        if line.kind == ATTEMPT:
            record_journaled_attempt(request.pk, token, line)
    end = next((line for line in lines if line.kind == END), None)
    if end is not None:
        record_journaled_end(request.pk, token, end, before=Status.SENDING)
        return
    last_at = datetime.fromisoformat((lines[-1] if lines else journaled.line).at)
    if abs((datetime.now(UTC) - last_at).total_seconds()) > MAX_RESUMED_AGE_S:
        _record_abandoned(request, token, row, lines=lines)


def _record_abandoned(
    request: CancelRequest,
    token: str,
    row: PressedExchange,
    *,
    lines: Sequence[Line],
) -> None:
    """End an old request whose process died with what is known of it."""
    if not lines or lines[-1].kind != ATTEMPT:
        requests.record_takeover(request.pk, dead_holder=token, lease_token=token)
    conclusion = conclude(
        AttemptSummary.of(request.attempts.order_by("number")),
        None,
        exchange_id=row.exchange_id,
        history=ListHistory(open_before=None, ever_listed=row.ever_listed),
    )
    record_end(
        request.pk,
        token,
        before=Status.SENDING,
        conclusion=conclusion,
        reads=0,
        last_list=None,
        finished_at=None,
    )


def _record_recovery(
    record: Recording,
    journaled: JournaledPress,
    *,
    requests: Sequence[PressedExchange],
    unreadable: Sequence[str],
    faults: Sequence[str],
) -> None:
    press, line, last = journaled.press, journaled.line, journaled.last
    exchanges = pluralize_count(len(press.requests), "exchange")
    record.event(
        EventKind.BREAK_GLASS_RECORDED,
        data={
            "press": press.uuid,
            "journal": line.journal,
            "host": line.host,
            "first_line": line.seq,
            "first_hash": line.hash,
            "last_line": last.seq,
            "last_hash": last.hash,
            "requests": len(requests),
            "faults": list(faults),
            **({"not_recorded": list(unreadable)} if unreadable else {}),
        },
    )
    names = ", ".join(row.exchange_id for row in requests)
    raise_alarm(
        kind=AlarmKind.BREAK_GLASS,
        subject=press.uuid,
        title=f"{press.by_name} cancelled on {exchanges} by break glass.",
        detail="\n".join(
            [
                "It was sent without the audit log, journaled on the disk of host"
                f" {line.host}, and recorded here afterwards.",
                "Sent by a browser that a risk officer had signed in with. Whether this person was"
                " still a risk officer could not be checked."
                if press.user_id
                else "Sent by a command on that host. No role was checked.",
                f"Requested at {press.asked_at[:19].replace('T', ' ')} UTC. Reason:"
                f" {press.reason or 'none given'}",
                f"Exchanges: {names}",
                *unreadable,
                *(f"The journal was changed: {fault}" for fault in faults),
            ]
        ),
        batch_id=press.uuid,
        batch_size=len(requests),
    )
