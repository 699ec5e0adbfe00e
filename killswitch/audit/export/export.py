"""Exports the whole of a selection as a stream that proves itself.

An export is an event before its first byte leaves, and another one before its last line does: no
event, no export. It ends at its own first event, so that it holds exactly what the log held then,
whatever is appended while it runs. One that was interrupted has no manifest.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any, Final

import structlog
from django.conf import settings
from django.db import DatabaseError, transaction
from django.db.models import Max, Min

from killswitch.audit import canonical_json, signing
from killswitch.audit.chain import Actor, NewEvent, append
from killswitch.audit.export.formats import (
    COLUMNS,
    EXPORT_FORMAT,
    LINES,
    ExportFormat,
    LineWriter,
    size,
)
from killswitch.audit.filters import EventFilter
from killswitch.audit.models import AuditEvent, Kind

ROWS: Final = 2000  # read at once, at most
FIRST_ROWS: Final = 250  # read at once before it is known how large events are
FEWEST: Final = 50  # read at once when events are large
LARGE: Final = 4_000_000  # characters of one reading, from which on fewer rows are read
WIDEST: Final = 200_000  # sequence numbers that one reading looks at, at most
PIECE: Final = 128 * 1024  # bytes handed over at once, at least

log = structlog.get_logger(__name__)


class ExportNotRecorded(Exception):
    """The export could not be put into the log, so there is none."""


def begin(
    *, selection: EventFilter, layout: ExportFormat, who: Actor, origin: Mapping[str, str]
) -> "Export":
    """Record the export; nothing of it has been read yet. Raises `NotRecorded`."""
    signing.key_id()  # a key that cannot be read fails here, and not after the last line
    data = {"filter": selection.as_data(), "format": str(layout), **origin}
    head = _record(NewEvent(kind=Kind.EXPORTED, actor=who, data=data))
    return Export(selection=selection, layout=layout, who=who, head=head)


@dataclass(frozen=True, kw_only=True)
class Export:
    """An export that was recorded; `head` is the event that says so."""

    selection: EventFilter
    layout: ExportFormat
    who: Actor
    head: AuditEvent

    @property
    def file_name(self) -> str:
        """Tells exports apart, and sorts by their age."""
        at = self.head.at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
        return f"killswitch-audit-{at}-{self.head.seq}.{self.layout}"

    @property
    def content_type(self) -> str:
        return LINES[self.layout].content_type

    def stream(self) -> Iterator[bytes]:
        """The export, in pieces of some lines. Raises `NotRecorded` where its end is not recorded.

        No transaction is open and no cursor is held while a piece is on its way.
        """
        lines = LINES[self.layout]
        content = hashlib.sha256()
        first = last = None
        count = 0
        header = lines.header(self._header())
        content.update(header)
        yield header
        for rows in _batches(self.selection, head=self.head.seq):
            first, last = first or rows[0][0], rows[-1][0]
            count += len(rows)
            for piece in _pieces(rows, lines=lines):
                content.update(piece)
                yield piece
        manifest = self._manifest(
            count=count, first_seq=first, last_seq=last, sha256=content.hexdigest()
        )
        yield lines.manifest(manifest)

    def _header(self) -> dict[str, Any]:
        return {
            "record": "header",
            "product": "killswitch",
            "format": EXPORT_FORMAT,
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

    def _manifest(self, **facts: Any) -> dict[str, Any]:
        """Recorded before it is handed out: there is no complete export that the log denies."""
        completed = _record(
            NewEvent(
                kind=Kind.EXPORT_COMPLETED,
                actor=self.who,
                data={"export": self.head.seq, "format": str(self.layout), **facts},
            )
        )
        manifest = {
            "record": "manifest",
            "format": EXPORT_FORMAT,
            "filter": self.selection.as_data(),
            "head": {"seq": self.head.seq, "hash": self.head.hash},
            "completed": {"seq": completed.seq, "hash": completed.hash},
            "key_id": signing.key_id(),
            "public_key": signing.public_key_pem(),
            **facts,
        }
        return manifest | {"signature": signing.sign(canonical_json.encode(manifest).encode())}


def _record(fact: NewEvent) -> AuditEvent:
    try:
        with transaction.atomic():
            append(fact)
            # Nobody else appends before the commit, so this is the one.
            return AuditEvent.objects.latest("seq")
    except DatabaseError as error:
        log.warning("export_not_recorded", kind=str(fact.kind), error=str(error))
        raise ExportNotRecorded(
            "The log does not take the event that must stand in it for an export."
        ) from error


def _pieces(rows: Sequence[Sequence[Any]], *, lines: LineWriter) -> Iterator[bytes]:
    piece = bytearray()
    for row in rows:
        piece += lines.event(row)
        if len(piece) >= PIECE:
            yield bytes(piece)
            piece.clear()
    if piece:
        yield bytes(piece)


def _batches(selection: EventFilter, *, head: int) -> Iterator[list[tuple[Any, ...]]]:
    """The selected events in the order of the chain, read in short queries of their own.

    Each looks at a stretch of sequence numbers, which every database finds by the primary key,
    whatever else is asked for: its cost is bounded, and no plan sorts the same rows twice. The
    stretch grows where little is found, and shrinks where events are large.
    """
    selected = selection.filter(AuditEvent.objects.filter(seq__lte=head))
    bounds = selected.aggregate(first=Min("seq"), last=Max("seq"))
    if bounds["first"] is None:
        return
    after, width, most = bounds["first"] - 1, ROWS, FIRST_ROWS
    while after < bounds["last"]:
        until = min(after + width, bounds["last"])
        stretch = selected.filter(seq__gt=after, seq__lte=until).order_by("seq")
        rows = list(stretch.values_list(*COLUMNS)[:most])
        is_full = len(rows) == most
        after = rows[-1][0] if is_full else until
        width = width if is_full else min(width * 2, WIDEST)
        is_large = sum(map(size, rows)) > LARGE
        most = max(most // 4, FEWEST) if is_large else min(most * 2, ROWS)
        if rows:
            yield rows
