"""Lets a kill that is under way go on without its database, and settles its row afterwards.

What happens from then on is journaled. When the database is back, the attempts are recorded, and
the end if no other process has taken the request over meanwhile.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from pathlib import Path

import structlog
from django.conf import settings

from killswitch.audit.recorder import recording
from killswitch.break_glass import cancelling, holders
from killswitch.break_glass.journal import JournalReader, JournalUnavailable, Line
from killswitch.break_glass.journal_record import JournalRecord, TimedJournal
from killswitch.break_glass.press import ATTEMPT, CARRIED_ON, END, RequestState
from killswitch.break_glass.reading import answer_of, list_of
from killswitch.cancels import recording as requests
from killswitch.cancels.conclusion import Conclusion
from killswitch.cancels.lease import Lease
from killswitch.cancels.models import Attempt, CancelRequest, Origin
from killswitch.cancels.recording import LeaseLost
from killswitch.cancels.request_record import fallbacks
from killswitch.cancels.states import Status

log = structlog.get_logger(__name__)


@cache
def _journal() -> TimedJournal:
    return cancelling.default_journal()


def journal_of(lease: Lease) -> JournalRecord:
    """Return where this kill records from now on."""
    state = RequestState(request=lease.uuid, exchange_id=lease.exchange_id)
    data = {
        "request": lease.uuid,
        "exchange_id": lease.exchange_id,
        "token": lease.token,
        "holder": holders.own_name(Path(settings.KILLSWITCH_HOME)),
    }
    try:
        _journal().append(CARRIED_ON, data)
    except JournalUnavailable as error:
        state.not_journaled = str(error)
        log.warning("not_journaled", kind=CARRIED_ON, request=lease.uuid, error=str(error))
    return JournalRecord(state, _journal(), is_announced=False)


fallbacks.append(journal_of)


def settle(reader: JournalReader) -> int:
    """Record what was journaled of requests that are in the log; return how many were changed."""
    lines_by_token: dict[tuple[str, str], list[Line]] = {}
    tokens: dict[str, str] = {}
    for line in reader.lines:
        request = str(line.data.get("request"))
        if not line.is_sealed_here:
            continue
        if line.kind == CARRIED_ON:
            tokens[request] = line.data["token"]
            lines_by_token[request, tokens[request]] = []
        elif request in tokens:
            lines_by_token[request, tokens[request]].append(line)
    known = set(
        Attempt.objects.filter(holder__in=set(tokens.values())).values_list("holder", "started_at")
    )
    in_flight = CancelRequest.objects.in_flight().filter(lease_token__in=set(tokens.values()))
    held = set(in_flight.values_list("lease_token", flat=True))
    count = 0
    for (request, token), lines in lines_by_token.items():
        new = [
            line
            for line in lines
            if line.kind == ATTEMPT
            and (token, datetime.fromisoformat(line.data["started_at"])) not in known
        ]
        ends = [line for line in lines if line.kind == END] if token in held else []
        if new or ends:
            _settle(request, token, attempts=new, ends=ends)
            count += 1
    return count


def _settle(
    request_uuid: str, token: str, *, attempts: Sequence[Line], ends: Sequence[Line]
) -> None:
    with recording(then_close_connection=True):
        row = CancelRequest.objects.select_related("batch").filter(uuid=request_uuid).first()
        if row is None:  # of another database
            return
        for line in attempts:
            answer = answer_of(line.data)
            requests.record_attempt(row.pk, token, answer=answer, next_attempt_at=None)
    if not ends or row.batch.origin == Origin.HOLD:
        return
    end = ends[0].data
    status = Status(end["status"])
    try:
        with recording(then_close_connection=True):
            before = Status(row.status)
            if before is Status.SENDING and status not in (Status.REJECTED, Status.NOT_DELIVERED):
                requests.start_verifying(row.pk, token)
                before = Status.VERIFYING
            requests.finish(
                row.pk,
                token,
                before=before,
                conclusion=Conclusion(status=status, sentence=end["conclusion"]),
                last_list=list_of(end["list"], count=end["open_after"]) if end["list"] else None,
                finished_at=datetime.fromisoformat(end["finished_at"]),
            )
    except LeaseLost:  # another process carries it on, and knows the attempts
        log.warning("lease_lost", request=request_uuid, exchange=row.exchange_id)
