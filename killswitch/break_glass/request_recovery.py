"""Records what the journal has of requests: their attempts, and how they ended.

A request of the log whose database went away is settled here. Its attempts are recorded in any
case, its end only if no other process has taken the request over meanwhile.
"""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

import structlog
from django.db.models import F

from killswitch.audit.recorder import recording
from killswitch.break_glass import unrecorded
from killswitch.break_glass.journal_reader import JournalReader, Line
from killswitch.break_glass.line_data import answer_of, check_lines, list_of
from killswitch.break_glass.press import ATTEMPT, END
from killswitch.cancels import recording as requests
from killswitch.cancels.conclusion import Conclusion, OpenOrdersAfter
from killswitch.cancels.models import Attempt, CancelRequest
from killswitch.cancels.states import Status

# The list is looked at again 5 s after a request has ended, if it is recorded sooner than this.
MAX_WATCHED_AGE_S = 3.0

log = structlog.get_logger(__name__)


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
    """Record attempts in any case, and the end if the lease is still held.

    Return whether this changed the request; another process may have done it, or hold its lease.
    """
    rows = CancelRequest.objects.filter(uuid=request_uuid)
    with recording(then_release_connection=True):
        request = rows.select_for_update(no_key=True).first()
        if request is None:  # of another database
            return False
        count = request.attempt_count
        for line in attempts:
            record_journaled_attempt(request.pk, token, line)
        ends_now = end is not None and request.lease_token == token and not request.is_final
        if end and ends_now:
            record_journaled_end(request.pk, token, end, before=Status(request.status))
        request.refresh_from_db()
    new_attempts = request.attempt_count - count
    if new_attempts or ends_now:
        log.warning("settled", request=request_uuid, attempts=new_attempts, ended=ends_now)
    return bool(new_attempts or ends_now)


def record_journaled_attempt(request_id: int, token: str, line: Line) -> None:
    """Record an ATTEMPT line, once."""
    answer = answer_of(line.data)
    requests.record_attempt(request_id, token, answer=answer, next_attempt_at=None)


def record_journaled_end(request_id: int, token: str, line: Line, *, before: Status) -> None:
    """Record an END line. Called inside a recording, while the lease is still held."""
    end = line.data
    record_end(
        request_id,
        token,
        before=before,
        conclusion=Conclusion(status=Status(end["status"]), sentence=end["conclusion"]),
        reads=end["reads"],
        last_list=list_of(end["list"], count=end["open_after"]) if end["list"] else None,
        finished_at=datetime.fromisoformat(end["finished_at"]),
    )


def record_end(  # noqa: PLR0913 - whose request, and what came of it
    request_id: int,
    token: str,
    *,
    before: Status,
    conclusion: Conclusion,
    reads: int,
    last_list: OpenOrdersAfter | None,
    finished_at: datetime | None,
) -> None:
    """Record the final status, and the reads that were not counted in the row."""
    if before is Status.SENDING and conclusion.status not in (
        Status.REJECTED,
        Status.NOT_DELIVERED,
    ):
        requests.start_verifying(request_id, token)
        before = Status.VERIFYING
    row = CancelRequest.objects.filter(pk=request_id)
    row.update(reads=F("reads") + reads)
    requests.finish(
        request_id,
        token,
        before=before,
        conclusion=conclusion,
        last_list=last_list,
        finished_at=finished_at,
    )
    age_s = (datetime.now(UTC) - finished_at).total_seconds() if finished_at else math.inf
    if age_s > MAX_WATCHED_AGE_S:
        # Orders that are open now say nothing about a cancel of some time ago.
        row.update(finished_revision=None)
