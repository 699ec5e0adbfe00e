"""The formats of an export: JSON Lines for programs and proofs, CSV for spreadsheets and people.

The first two begin with a header and end with a manifest. `docs/auditors.md` describes them for
readers without this program; a change here needs a new `export_format` of its writer.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from killswitch.audit import canonical_json
from killswitch.audit.chain import HASHED
from killswitch.audit.export import csv_safe
from killswitch.audit.export.readable import ReadableCsvWriter

COLUMNS: Final = (*HASHED, "hash")


class ExportFormat(StrEnum):
    """The formats by their names in addresses and on the command line."""

    JSONL = "jsonl"
    CSV = "csv"
    READABLE_CSV = "readable.csv"


class JsonLinesWriter:
    """Writes each line as canonical JSON. An event has every column; its data is the exact text."""

    content_type = "application/x-ndjson"
    export_format = 1
    interrupted = b""  # a program misses the manifest

    def header(self, header: Mapping[str, Any]) -> bytes:
        """Return everything before the events."""
        return canonical_json.encode(header).encode() + b"\n"

    def event(self, row: Sequence[Any]) -> bytes:
        """Return one event, from the values of `COLUMNS`."""
        columns = dict(zip(COLUMNS, row, strict=True))
        columns["at"] = canonical_json.utc_text(columns["at"])
        return canonical_json.encode_unchecked(columns).encode() + b"\n"

    def events(self, rows: Sequence[Sequence[Any]]) -> Iterator[bytes]:
        """Yield the lines of some events."""
        return map(self.event, rows)

    def manifest(self, manifest: Mapping[str, Any]) -> bytes:
        """Return the last line."""
        return canonical_json.encode(manifest).encode() + b"\n"


class CsvWriter:
    """Quotes and escapes every cell, and cuts one that is too long for a spreadsheet.

    The file begins with the byte order mark of UTF-8. In format 1 no cell was cut.
    """

    content_type = "text/csv; charset=utf-8; header=present"
    export_format = 2
    interrupted = csv_safe.INTERRUPTED

    def header(self, header: Mapping[str, Any]) -> bytes:
        """Return everything before the events."""
        first = csv_safe.row(["# header", canonical_json.encode(header)])
        return f"\ufeff{first}{csv_safe.row(COLUMNS)}".encode()

    def event(self, row: Sequence[Any]) -> bytes:
        """Return one event, from the values of `COLUMNS`."""
        return csv_safe.row(
            canonical_json.utc_text(value) if isinstance(value, datetime) else str(value)
            for value in row
        ).encode()

    def events(self, rows: Sequence[Sequence[Any]]) -> Iterator[bytes]:
        """Yield the lines of some events."""
        return map(self.event, rows)

    def manifest(self, manifest: Mapping[str, Any]) -> bytes:
        """Return the last line."""
        return csv_safe.row(["# manifest", canonical_json.encode(manifest)]).encode()


LineWriter = JsonLinesWriter | CsvWriter | ReadableCsvWriter
WRITERS: Final[Mapping[ExportFormat, LineWriter]] = {
    ExportFormat.JSONL: JsonLinesWriter(),
    ExportFormat.CSV: CsvWriter(),
    ExportFormat.READABLE_CSV: ReadableCsvWriter(),
}
