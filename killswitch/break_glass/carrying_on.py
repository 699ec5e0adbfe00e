"""Lets a kill that is under way go on without its database, and settles its row afterwards.

What happens from then on is journaled. When the database is back, the attempts are recorded, and
the end if no other process has taken the request over meanwhile.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from uuid import UUID

import structlog
from django.conf import settings

from killswitch.audit.recorder import recording
from killswitch.break_glass import unrecorded
from killswitch.break_glass.ending import record_journaled_end
from killswitch.break_glass.journal import Journal, JournalReader, JournalUnavailable, Line
from killswitch.break_glass.journal_record import JournalRecord, TimedJournal
from killswitch.break_glass.press import ATTEMPT, CARRIED_ON, END, RequestState
from killswitch.break_glass.reading import answer_of, check_lines
from killswitch.cancels import recording as requests
from killswitch.cancels.lease import Lease
from killswitch.cancels.models import Attempt, CancelRequest
from killswitch.cancels.request_record import fallbacks
from killswitch.cancels.states import Status

log = structlog.get_logger(__name__)


@cache
def _journal(home: Path) -> TimedJournal:
    return TimedJournal(Journal(home))


def journal_of(lease: Lease) -> JournalRecord:
    """Return where this kill records from now on."""
    journal = _journal(Path(settings.KILLSWITCH_HOME))
    state = RequestState(request=lease.uuid, exchange_id=lease.exchange_id)
    data = {"request": lease.uuid, "token": lease.token, "exchange_id": lease.exchange_id}
    try:
        journal.append(CARRIED_ON, data)
    except JournalUnavailable as error:
        state.not_journaled = str(error)
        log.warning("not_journaled", kind=CARRIED_ON, request=lease.uuid, error=str(error))
    return JournalRecord(state, journal, token=lease.token)


fallbacks.append(journal_of)


def settle(reader: JournalReader) -> int:
    """Record what was journaled of requests that are in the log; return how many were changed.

    Raises `django.db.Error`.
    """
    lines: dict[tuple[str, str], list[Line]] = {}
    for line in reader.lines:
        token = line.data.get("token")
        if token and line.kind in (ATTEMPT, END) and line.is_sealed_here:
            lines.setdefault((str(line.data.get("request")), str(token)), []).append(line)
    lines = {key: rows for key, rows in lines.items() if _is_readable(key[0], rows)}
    if not lines:
        return 0
    uuids = {request for request, _ in lines}
    in_flight = CancelRequest.objects.in_flight().filter(uuid__in=uuids)
    held = {(str(uuid), token) for uuid, token in in_flight.values_list("uuid", "lease_token")}
    attempts = Attempt.objects.filter(request__uuid__in=uuids)
    known = {
        (str(uuid), token, started_at)
        for uuid, token, started_at in attempts.values_list("request__uuid", "holder", "started_at")
    }
    count = 0
    for (request, token), rows in lines.items():
        new = [
            row
            for row in rows
            if row.kind == ATTEMPT
            and (request, token, datetime.fromisoformat(row.data["started_at"])) not in known
        ]
        end = next((row for row in rows if row.kind == END), None)
        is_held = (request, token) in held
        if new or (end and is_held):
            try:
                count += _settle(request, token, attempts=new, end=end if is_held else None)
            except Exception as error:  # noqa: BLE001 - those after it are settled all the same
                unrecorded.report(rows[0], error)
    return count


def _is_readable(request: str, rows: Sequence[Line]) -> bool:
    """Return whether lines of a request can be read, and report them if not."""
    try:
        UUID(request)
        check_lines(rows)
    except ValueError as error:
        unrecorded.report(rows[0], error)
        return False
    return True


def _settle(request_uuid: str, token: str, *, attempts: Sequence[Line], end: Line | None) -> bool:
    """Record attempts, whoever holds the request now, and its end if the lease is still held.

    Return whether this changed the request; another process may have done it, or hold its lease.
    """
    rows = CancelRequest.objects.filter(uuid=request_uuid)
    with recording(then_close_connection=True):
        request = rows.select_for_update(no_key=True).first()
        if request is None:  # of another database
            return False
        count = request.attempt_count
        for line in attempts:
            answer = answer_of(line.data)
            requests.record_attempt(request.pk, token, answer=answer, next_attempt_at=None)
        ends_now = end is not None and request.lease_token == token and not request.is_final
        if end and ends_now:
            record_journaled_end(request.pk, token, end.data, before=Status(request.status))
        request.refresh_from_db()
    new_attempts = request.attempt_count - count
    if new_attempts or ends_now:
        log.warning("settled", request=request_uuid, attempts=new_attempts, ended=ends_now)
    return bool(new_attempts or ends_now)
