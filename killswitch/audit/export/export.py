"""Exports the selected events as a stream that can be verified on its own.

An export is recorded by an event before its first byte is sent and by a second one before its last
line: without the event there is no export. It ends with its own first event, so it has exactly the
events of that moment, although others are appended while it runs. An interrupted export has no
manifest.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any, Final

import structlog
from django.conf import settings
from django.db import DatabaseError
from django.db.models import Max, Min

from killswitch.audit import canonical_json, signing
from killswitch.audit.actors import Actor
from killswitch.audit.export.formats import COLUMNS, WRITERS, ExportFormat, LineWriter
from killswitch.audit.filters import EventFilter
from killswitch.audit.models import AuditEvent, EventKind
from killswitch.audit.recorder import recording

# How many rows a query reads, depending on how large they are.
FIRST_BATCH_ROWS: Final = 250
MIN_BATCH_ROWS: Final = 50
MAX_BATCH_ROWS: Final = 2000
LARGE_BATCH_CHARS: Final = 4_000_000  # from which on the next batch is smaller
MAX_RANGE: Final = 200_000  # of sequence numbers in one query
MIN_CHUNK_BYTES: Final = 128 * 1024

DATA: Final = COLUMNS.index("data")  # the only column that is ever large

log = structlog.get_logger(__name__)


class ExportNotRecorded(Exception):
    """The event of the export could not be recorded, so there is no export."""


def begin(
    *, selection: EventFilter, layout: ExportFormat, who: Actor, origin: Mapping[str, str]
) -> "Export":
    """Record an export before any of it is read. Raises `ExportNotRecorded`."""
    signing.key_id()  # an unreadable key must fail here, not after the last line
    data = {"filter": selection.as_data(), "format": str(layout), **origin}
    head = _record(EventKind.EXPORTED, actor=who, data=data)
    return Export(selection=selection, layout=layout, who=who, head=head)


@dataclass(frozen=True, kw_only=True)
class Export:
    """A recorded export; `head` is its event, and its last one."""

    selection: EventFilter
    layout: ExportFormat
    who: Actor
    head: AuditEvent

    @property
    def file_name(self) -> str:
        """Return a unique name; names sort by time."""
        at = self.head.at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
        return f"killswitch-audit-{at}-{self.head.seq}.{self.layout}"

    @property
    def content_type(self) -> str:
        return WRITERS[self.layout].content_type

    @property
    def interrupted(self) -> bytes:
        """Return what follows the last line of an export that has failed."""
        return WRITERS[self.layout].interrupted

    def stream(self) -> Iterator[bytes]:
        """Yield the export in chunks. Raises `ExportNotRecorded` if its end cannot be recorded.

        No transaction and no cursor is open while a chunk is being sent.
        """
        writer = WRITERS[self.layout]
        sha256 = hashlib.sha256()
        first = last = None
        count = 0
        header = writer.header(self._header())
        sha256.update(header)
        yield header
        for rows in _batches(self.selection, head=self.head.seq):
            first, last = first or rows[0][0], rows[-1][0]
            count += len(rows)
            for chunk in _chunks(rows, writer=writer):
                sha256.update(chunk)
                yield chunk
        manifest = self._record_end(
            count=count, first_seq=first, last_seq=last, sha256=sha256.hexdigest()
        )
        yield writer.manifest(manifest)

    def _header(self) -> dict[str, Any]:
        return {
            "record": "header",
            "product": "killswitch",
            "format": WRITERS[self.layout].export_format,
            "software": settings.VERSION,
            "environment": settings.KILLSWITCH_ENVIRONMENT,
            "exported_at": canonical_json.utc_text(self.head.at),
            "exported_by": self.who.name,
            "role": self.who.role,
            "whole": self.selection.is_everything,
            "filter": self.selection.as_data(),
            "columns": list(COLUMNS),
            "head": {"seq": self.head.seq, "hash": self.head.hash},
        }

    def _record_end(self, **facts: Any) -> dict[str, Any]:
        """Record the end and return the manifest: every complete export is in the log."""
        data = {"export": self.head.seq, "format": str(self.layout), **facts}
        end = _record(EventKind.EXPORT_COMPLETED, actor=self.who, data=data)
        manifest = {
            "record": "manifest",
            "format": WRITERS[self.layout].export_format,
            "filter": self.selection.as_data(),
            "head": {"seq": self.head.seq, "hash": self.head.hash},
            "completed": {"seq": end.seq, "hash": end.hash},
            "key_id": signing.key_id(),
            "public_key": signing.public_key_pem(),
            **facts,
        }
        return manifest | {"signature": signing.sign(canonical_json.encode(manifest).encode())}


def _record(kind: EventKind, *, actor: Actor, data: Mapping[str, Any]) -> AuditEvent:
    try:
        with recording() as record:
            record.event(kind, actor=actor, data=data)
    except DatabaseError as error:
        log.warning("export_not_recorded", kind=str(kind), error=str(error))
        raise ExportNotRecorded("The export could not be recorded in the audit log.") from error
    return record.events[-1]


def _chunks(rows: Sequence[Sequence[Any]], *, writer: LineWriter) -> Iterator[bytes]:
    chunk = bytearray()
    for line in writer.events(rows):
        chunk += line
        if len(chunk) >= MIN_CHUNK_BYTES:
            yield bytes(chunk)
            chunk.clear()
    if chunk:
        yield bytes(chunk)


def _batches(selection: EventFilter, *, head: int) -> Iterator[list[tuple[Any, ...]]]:
    """Yield the selected events in the order of the chain, in short queries of their own.

    Each query is limited to a range of sequence numbers, which every database finds by the primary
    key, regardless of the filter: its cost is bounded, and no plan sorts the same rows twice. The
    range grows while few events are selected, and batches shrink while events are large.
    """
    events = selection.events().filter(seq__lte=head)
    bounds = events.aggregate(first=Min("seq"), last=Max("seq"))
    if bounds["first"] is None:
        return
    after, width, max_rows = bounds["first"] - 1, MAX_BATCH_ROWS, FIRST_BATCH_ROWS
    while after < bounds["last"]:
        end = min(after + width, bounds["last"])
        in_range = events.filter(seq__gt=after, seq__lte=end).order_by("seq")
        rows = list(in_range.values_list(*COLUMNS)[:max_rows])
        is_full = len(rows) == max_rows
        after = rows[-1][0] if is_full else end
        width = width if is_full else min(width * 2, MAX_RANGE)
        if sum(len(row[DATA]) for row in rows) > LARGE_BATCH_CHARS:
            max_rows = max(max_rows // 4, MIN_BATCH_ROWS)
        else:
            max_rows = min(max_rows * 2, MAX_BATCH_ROWS)
        if rows:
            yield rows
