"""Compares the journal of this host with the log.

A journal of another host can only be compared there.
"""

import socket
from collections.abc import Iterator, Sequence

from django.conf import settings

from killswitch.audit.event_reader import read
from killswitch.audit.models import AuditEvent, EventKind
from killswitch.audit.reconciliation.comparison import (
    LoggedEvent,
    discrepancy,
    logged_events,
    reconcilers,
)
from killswitch.audit.verification.findings import Finding, Progress
from killswitch.break_glass.journal import FILE, Journal
from killswitch.break_glass.journal_reader import JournalReader
from killswitch.break_glass.press import journaled_presses
from killswitch.break_glass.recovery import unreadable_requests
from killswitch.break_glass.unrecorded import unrecordable_lines


def discrepancies(ids: Sequence[str] | None, progress: Progress) -> Iterator[Finding]:  # noqa: ARG001 - a journal is short
    """Yield what differs between the journal and the log. Part of every whole comparison."""
    if ids is not None:
        return
    try:
        reader = Journal(settings.KILLSWITCH_HOME).read()
    except OSError as error:
        yield discrepancy(f"{FILE} cannot be read ({error.strerror or error})")
        return
    for fault in reader.faults:
        yield discrepancy(f"{FILE}: {fault}")
    for _, reason in unrecordable_lines(reader):
        yield discrepancy(f"{FILE}: a cancel cannot be recorded in the log ({reason})")
    for press in journaled_presses(reader):
        for text in unreadable_requests(press).values():
            yield discrepancy(f"{FILE}: {text}")
    events = AuditEvent.objects.filter(kind=str(EventKind.BREAK_GLASS_RECORDED))
    for event in logged_events(events):
        yield from _in_recorded(event, reader)


def _in_recorded(event: LoggedEvent, reader: JournalReader) -> Iterator[Finding]:
    """Yield the lines of one recorded press that are not in the journal any more."""
    data = read(event)
    journal = reader.lines[0].journal if reader.lines else ""
    if data.text("journal") != journal and data.text("host") != socket.gethostname():
        return
    if data.text("journal") != journal:
        yield discrepancy(
            f"{FILE}: the journal of event {event.seq} was removed or replaced, or another host is"
            f" also named {data.text('host')}",
            seq=event.seq,
        )
        return
    hashes = {line.seq: line.hash for line in reader.lines}
    for place in ("first", "last"):
        number = data.number(f"{place}_line")
        if hashes.get(number or 0) != data.text(f"{place}_hash"):
            yield discrepancy(
                f"{FILE}: line {number}, which event {event.seq} records, was changed or removed",
                seq=event.seq,
            )


reconcilers.append(discrepancies)
