"""Reports what of the journal cannot be recorded in the log. What follows it is recorded."""

from collections.abc import Iterator

import structlog

from killswitch.alarms.models import Alarm, AlarmKind
from killswitch.alarms.services import raise_alarm
from killswitch.audit.recorder import recording
from killswitch.break_glass.journal_reader import JournalReader, Line
from killswitch.break_glass.press import ATTEMPT, END, PRESS, SENDING, Press, UnreadableLine
from killswitch.runtime.database_errors import means_outage
from killswitch.runtime.text import error_line

REQUEST_KINDS = (SENDING, ATTEMPT, END)

log = structlog.get_logger(__name__)


def unrecordable_lines(reader: JournalReader) -> Iterator[tuple[Line, UnreadableLine]]:
    """Yield the lines of this installation that belong to no press that can be recorded.

    These are each PRESS that this software cannot read, and the first line of each request without
    a PRESS: the disk may have been full before.
    """
    requests: set[str] = set()
    for line in reader.lines:
        if not line.is_sealed_here:
            continue
        request = str(line.data.get("request"))
        if line.kind == PRESS:
            try:
                requests |= {row.request for row in Press.of_line(line).requests}
            except UnreadableLine as error:
                yield line, error
        elif line.kind in REQUEST_KINDS and "token" not in line.data and request not in requests:
            requests.add(request)
            yield line, UnreadableLine(f"line {line.seq}: its press was not journaled")


def report(line: Line, error: Exception) -> None:
    """Raise an alarm, once, about a line that cannot be recorded.

    Raises the error instead if it means that the database is gone: then it is tried again.
    """
    if means_outage(error):
        raise error
    place = f"{line.journal} {line.seq}"
    if Alarm.objects.filter(kind=AlarmKind.BREAK_GLASS, subject=place).exists():
        return
    log.error("journal_not_recorded", journal=line.journal, line=line.seq, exc_info=error)
    with recording(then_release_connection=True):
        raise_alarm(
            kind=AlarmKind.BREAK_GLASS,
            subject=place,
            title=f"Line {line.seq} of the journal of host {line.host} cannot be recorded.",
            detail=(
                "A cancel was journaled there while the audit log was not available. It was sent,"
                " but is not in the log, or not completely. Keep break_glass.jsonl of that host.\n"
                f"The line is {line.kind}, journal {line.journal}, SHA-256 {line.hash}.\n"
                f"Reason: {type(error).__name__}: {error_line(error)}"
            ),
        )
