"""How an export is laid out: JSON Lines for machines and proofs, CSV for people's spreadsheets.

Both begin with a header and end with a manifest. `docs/auditors.md` describes them for whoever
reads them without this program; a change here is a new `EXPORT_FORMAT`.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from killswitch.audit import canonical_json
from killswitch.audit.chain import HASHED
from killswitch.audit.export import csv_safe

EXPORT_FORMAT: Final = 1
COLUMNS: Final = (*HASHED, "hash")
HEADER_MARK: Final = "# header"
MANIFEST_MARK: Final = "# manifest"
# What was checked when the event was appended needs no checking here, and that takes most of the
# time of `canonical.encode`; the text is the same.
_ENCODER: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)
_DATA: Final = COLUMNS.index("data")


class ExportFormat(StrEnum):
    """The ways to lay an export out, by their names in addresses and on the command line."""

    JSONL = "jsonl"
    CSV = "csv"


class LineWriter(ABC):
    """Makes the bytes of an export's lines."""

    content_type: str

    @abstractmethod
    def header(self, header: Mapping[str, Any]) -> bytes:
        """The first line, and whatever else comes before the events."""

    @abstractmethod
    def event(self, row: Sequence[Any]) -> bytes:
        """One event, from the values of `COLUMNS`."""

    @abstractmethod
    def manifest(self, manifest: Mapping[str, Any]) -> bytes:
        """The last line."""


class JsonLinesWriter(LineWriter):
    """Each line is canonical JSON. An event has every column; its data is the exact text."""

    content_type = "application/x-ndjson"

    def header(self, header: Mapping[str, Any]) -> bytes:
        return _line(canonical_json.encode(header))

    def event(self, row: Sequence[Any]) -> bytes:
        columns = dict(zip(COLUMNS, row, strict=True))
        columns["at"] = canonical_json.utc_text(columns["at"])
        return _line(_ENCODER.encode(columns))

    def manifest(self, manifest: Mapping[str, Any]) -> bytes:
        return _line(canonical_json.encode(manifest))


class CsvWriter(LineWriter):
    """Every cell quoted and guarded. It begins with the mark by which spreadsheets know UTF-8."""

    content_type = "text/csv; charset=utf-8; header=present"

    def header(self, header: Mapping[str, Any]) -> bytes:
        first = csv_safe.row([HEADER_MARK, canonical_json.encode(header)])
        return f"\ufeff{first}{csv_safe.row(COLUMNS)}".encode()

    def event(self, row: Sequence[Any]) -> bytes:
        return csv_safe.row(_cell(value) for value in row).encode()

    def manifest(self, manifest: Mapping[str, Any]) -> bytes:
        return csv_safe.row([MANIFEST_MARK, canonical_json.encode(manifest)]).encode()


LINES: Final[Mapping[ExportFormat, LineWriter]] = {
    ExportFormat.JSONL: JsonLinesWriter(),
    ExportFormat.CSV: CsvWriter(),
}


def size(row: Sequence[Any]) -> int:
    """About how much memory a row takes: only its data is ever large."""
    return len(row[_DATA])


def _line(text: str) -> bytes:
    return text.encode() + b"\n"


def _cell(value: object) -> str:
    return canonical_json.utc_text(value) if isinstance(value, datetime) else str(value)
