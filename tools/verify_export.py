"""Verifies an export of the kill switch's audit log without the kill switch.

    python3 verify_export.py EXPORT [--public-key FILE]... [--head HASH]... [--checkpoints FILE]

EXPORT is a JSON Lines or CSV file as the kill switch wrote it, or - for standard input. This
program needs only Python 3.8 or later and its standard library. It checks the rules in
docs/auditors.md and shares no code with the program that made the export. Signatures need the
Python package `cryptography` or the program `openssl` (3.0 or later).

Exit: 0 all requested checks were made and passed, 1 the export failed a check, 2 something could
not be checked.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import csv
import hashlib
import io
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator  # noqa: UP035 (Python 3.8)

JSON_LINES_FORMATS = (1,)
CSV_FORMATS = (1, 2)  # 2: a text that is too long for a spreadsheet is cut
EVENT_FORMAT = 1
GENESIS = "0" * 64  # the `previous` of the first event
MAX_LINE_BYTES = 64 * 1024 * 1024  # far more than any event needs
MAX_CHECKPOINT_BYTES = 64 * 1024
# fmt: off
COLUMNS = [
    "seq", "at", "format", "software", "kind", "actor", "role", "exchange_id", "request_id",
    "status", "reject_reason", "data", "previous", "hash",
]
# fmt: on
NUMBERS = ("seq", "format")
FILTERED = ("exchange_id", "actor", "kind", "status", "reject_reason", "request_id")
HEADER = {
    "record": str,
    "product": str,
    "format": int,
    "software": str,
    "environment": str,
    "exported_at": str,
    "exported_by": str,
    "role": str,
    "whole": bool,
    "filter": dict,
    "columns": list,
    "head": dict,
}
MANIFEST = {
    "record": str,
    "format": int,
    "filter": dict,
    "count": int,
    "first_seq": (int, type(None)),
    "last_seq": (int, type(None)),
    "sha256": str,
    "head": dict,
    "completed": dict,
    "key_id": str,
    "public_key": str,
    "signature": str,
}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)
HASH = re.compile("[0-9a-f]{64}")
# An apostrophe that the export added so that no spreadsheet runs the cell.
ESCAPE = re.compile("(^|[,;|\t\r\n])([ \"]*)'(?=['=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20])")
# What ends such a text.
CUT = re.compile(r"\u2026 \(cut; [0-9,]+ characters; the whole text is in the JSONL export\)\Z")
PEM = re.compile(
    r"\s*-----BEGIN PUBLIC KEY-----\s+([A-Za-z0-9+/=\s]+?)\s*-----END PUBLIC KEY-----\s*"
)
# What every Ed25519 public key begins with in DER; its 32 bytes follow.
ED25519 = bytes.fromhex("302a300506032b6570032100")

Record = Dict[str, Any]  # noqa: UP006 (Python 3.8)


class Wrong(Exception):
    """The export is not genuine: exit 1."""


class CannotCheck(Exception):
    """It cannot be checked: exit 2."""


# --- reading ------------------------------------------------------------------------------------


class Lines:
    """Yields the lines of a file and computes the SHA-256 of all lines before."""

    def __init__(self, file: io.BufferedReader) -> None:
        self.number = 0
        self.last = b""
        self._file = file
        self._before = hashlib.sha256()

    def __iter__(self) -> Iterator[bytes]:
        while line := self._file.readline(MAX_LINE_BYTES + 1):
            self.number += 1
            self._before.update(self.last)
            self.last = line
            if len(line) > MAX_LINE_BYTES:
                raise Wrong("is longer than any line of an export")
            if not line.endswith(b"\n"):
                raise Wrong(
                    "has no line ending: the file was cut off here, or its last line was changed"
                )
            yield line

    def sha256_before(self) -> str:
        """Return the hash of everything before the last line that was yielded."""
        return self._before.hexdigest()


def records_of_json_lines(lines: Lines) -> Iterator[Record]:
    """Yield the record of each line."""
    for line in lines:
        if line.endswith(b"\r\n"):
            raise Wrong("ends with CR LF: something changed the line endings; copy files as binary")
        yield canonical_record(line[:-1])


def records_of_csv(lines: Lines) -> Iterator[Record]:
    """Yield the same records from the rows of a CSV."""
    csv.field_size_limit(MAX_LINE_BYTES)
    rows = csv.reader(map(csv_text, lines), strict=True)
    try:
        for number, row in enumerate(rows):
            cells = [ESCAPE.sub(r"\1\2", cell) for cell in row]
            if number == 0:
                yield marked(cells, "# header")
            elif number == 1:
                if cells != COLUMNS:
                    raise Wrong("does not name the columns of an export")
            elif cells[:1] == ["# manifest"]:
                # No hash covers this line, so its exact form is checked.
                if not lines.last.startswith(b'"# manifest","') or lines.last[-3:] != b'"\r\n':
                    raise Wrong("is a manifest, but not in the form that an export writes")
                yield marked(cells, "# manifest")
            elif len(cells) == 1 and cells[0].startswith("INCOMPLETE: "):
                return  # written in place of the manifest, so that a spreadsheet shows it
            else:
                yield event_of(cells)
    except csv.Error as error:
        raise Wrong(f"cannot be read as CSV: {error}") from None


def csv_text(line: bytes) -> str:
    """Return the text of a line; the first one begins with the byte order mark of UTF-8."""
    return text(line[3:] if line.startswith(b'\xef\xbb\xbf"# header') else line)


def marked(cells: list[str], mark: str) -> Record:
    """Return the header or the manifest from its second cell, which is JSON."""
    if len(cells) != 2 or cells[0] != mark:
        raise Wrong("does not begin as an export does")
    return canonical_record(cells[1].encode("utf-8"))


def event_of(cells: list[str]) -> Record:
    """Return an event, in which two cells are numbers."""
    if len(cells) != len(COLUMNS):
        raise Wrong(f"has {len(cells)} cells instead of {len(COLUMNS)}")
    event: Record = dict(zip(COLUMNS, cells))  # noqa: B905 (Python 3.8)
    for name in NUMBERS:
        if not re.fullmatch("[1-9][0-9]{0,17}", event[name]):
            raise Wrong(f"{name} is not a number: {printable(event[name])}")
        event[name] = int(event[name])
    return event


def text(line: bytes) -> str:
    """Decode strict UTF-8."""
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        raise Wrong("is not UTF-8") from None


def canonical_record(line: bytes) -> Record:
    """Return the JSON object on a line, which must be in its canonical form."""
    try:
        record = json.loads(
            text(line),
            object_pairs_hook=without_duplicates,
            parse_int=small_integer,
            parse_float=refused_number,
            parse_constant=refused_number,
        )
    except (ValueError, RecursionError):
        raise Wrong("is not JSON") from None
    if not isinstance(record, dict):
        raise Wrong("is not a JSON object")
    if canonical(record) != line:
        raise Wrong("is not written in the canonical form: something rewrote the file")
    return record


def canonical(value: Record) -> bytes:
    """Return the form of RFC 8785 for strings, integers, true, false, null and ASCII keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise Wrong("contains half a surrogate pair, which is not a character") from None


def without_duplicates(pairs: list[tuple[str, Any]]) -> Record:
    """Return the object; if a key appeared twice, two readers could see different values."""
    record: Record = {}
    for key, value in pairs:
        if key in record:
            raise Wrong(f"has the key {printable(key)} twice")
        record[key] = value
    return record


def small_integer(digits: str) -> int:
    """Return the number; no export contains longer ones, and parsing them could take hours."""
    if len(digits) > 18:
        raise Wrong("contains a number that is too large")
    return int(digits)


def refused_number(digits: str) -> None:
    """Refuse fractions, NaN and infinity."""
    raise Wrong(f"contains {printable(digits)}, which no export contains")


def printable(value: object) -> str:
    """Return foreign text for a terminal: printable ASCII only, and not too long."""
    ascii_text = str(value)[:100].encode("unicode_escape").decode("ascii")
    return ascii_text if len(ascii_text) <= 100 else f"{ascii_text[:100]}..."


# --- walking ------------------------------------------------------------------------------------


class Walk:
    """Checks the records in their order: the header, the events, the manifest."""

    def __init__(self, header: Record, kept: Kept, formats: tuple[int, ...]) -> None:
        check_shape(header, HEADER, "header", formats)
        if header["columns"] != COLUMNS:
            raise Wrong("the header does not name the columns of an export")
        if header["whole"] != (not header["filter"]):
            raise Wrong("the header says both that the export is whole and that it is filtered")
        if not TIME.fullmatch(header["exported_at"]):
            raise Wrong("exported_at is not a time in UTC with microseconds")
        self.header = header
        self.head = header["head"]
        self.kept = kept
        self.manifest: Record = {}
        self.count = self.first = self.backwards = 0
        self.cut: list[int] = []  # events whose hash could not be checked
        self.last: Record = {"seq": 0, "hash": GENESIS, "at": ""}

    def take(self, event: Record) -> None:
        """Check an event's hash, its position after the one before, and that it is selected."""
        is_cut = check_event(event, may_be_cut=self.header["format"] > 1)
        self.cut += [event["seq"]] if is_cut else []
        self._check_position(event)
        self._check_filter(event)
        self.kept.compare(event)
        self.count += 1
        self.first = self.first or event["seq"]
        self.backwards += event["at"] < self.last["at"]
        self.last = event

    def _check_position(self, event: Record) -> None:
        seq, before = event["seq"], self.last["seq"]
        if seq <= before:
            raise Wrong(f"event {seq} comes after event {before}")
        if self.header["whole"] and seq != before + 1:
            raise Wrong(f"event {seq} comes after event {before}: those in between are missing")
        if seq == before + 1 and event["previous"] != self.last["hash"]:
            raise Wrong(f"event {seq} is not chained to event {before}")
        if seq > self.head["seq"]:
            raise Wrong(f"event {seq} is newer than the export's head, event {self.head['seq']}")
        if seq == self.head["seq"] and event["hash"] != self.head["hash"]:
            raise Wrong(f"event {seq} is the head, but its hash is not the one in the header")

    def _check_filter(self, event: Record) -> None:
        filters = self.header["filter"]
        columns = [name for name in FILTERED if event[name] != filters.get(name, event[name])]
        columns += [
            name
            for name in ("exchange_id", "reject_reason")
            if filters.get(f"{name.removesuffix('_id')}_contains", "").casefold()
            not in event[name].casefold()
        ]
        columns += [
            name
            for name in ("kind", "status")
            if f"{name}_in" in filters and event[name] not in filters[f"{name}_in"].split()
        ]
        # Whether a request was confirmed is more than one line can prove.
        if "outcome" in filters and event["kind"] != "FINISHED":
            columns.append("kind")
        if event["at"] < filters.get("from", "") or event["at"] >= filters.get("to", "~"):
            columns.append("at")
        if columns:
            names = ", ".join(columns)
            raise Wrong(f"event {event['seq']} does not match the filter: {names}")

    def close(self, manifest: Record, sha256: str) -> None:
        """Compare the manifest with the lines before it."""
        check_shape(manifest, MANIFEST, "manifest", (self.header["format"],))
        for name in ("filter", "head"):
            if manifest[name] != self.header[name]:
                raise Wrong(f"the manifest and the header differ: {name}")
        if manifest["count"] != self.count:
            raise Wrong(f"the manifest counts {manifest['count']} events, the file {self.count}")
        if (manifest["first_seq"] or 0, manifest["last_seq"] or 0) != (
            self.first,
            self.last["seq"],
        ):
            raise Wrong("the manifest names a different first or last event")
        if manifest["sha256"] != sha256:
            raise Wrong("the SHA-256 of the lines before is not the one in the manifest")
        if self.header["whole"]:
            self._check_end()
        if manifest["completed"]["seq"] <= self.head["seq"]:
            raise Wrong("the export was completed before it was started")
        self.manifest = manifest

    def _check_end(self) -> None:
        """Check that a whole export ends with the event that records it."""
        last, header = self.last, self.header
        if last["seq"] != self.head["seq"]:
            raise Wrong(f"the last event is {last['seq']}, but the head is {self.head['seq']}")
        exporter = (header["exported_at"], header["exported_by"], header["role"])
        is_export = last["kind"] == "EXPORTED" and filter_in(last["data"]) == {}
        if not is_export or (last["at"], last["actor"], last["role"]) != exporter:
            raise Wrong("the last event is not the one that records this export")


def filter_in(data: str) -> object:
    """Return the filter in the data of an export's event."""
    try:
        return json.loads(data)["filter"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def check_shape(record: Record, shape: dict[str, Any], name: str, formats: tuple[int, ...]) -> None:
    """Check that the header or the manifest has exactly its keys, with values of their types."""
    if record.get("record") != name:
        raise Wrong(f"is not a {name}")
    if record.get("format") not in formats:
        raise CannotCheck(
            f"The file has export format {printable(record.get('format'))},"
            f" but this program only knows {', '.join(map(str, formats))} here."
        )
    if set(record) != set(shape):
        keys = ", ".join(sorted(set(record) ^ set(shape)))
        raise Wrong(f"the {name} has extra or missing keys: {printable(keys)}")
    for key, kind in shape.items():
        # In Python, True is an int.
        is_wrong_bool = isinstance(record[key], bool) and kind is not bool
        if is_wrong_bool or not isinstance(record[key], kind):
            raise Wrong(f"the {name}'s {key} has the wrong type")
    if not all(isinstance(value, str) for value in record["filter"].values()):
        raise Wrong(f"the {name}'s filter has a value that is not text")
    for key in {"head", "completed"} & set(shape):
        check_head(record[key])


def check_head(head: Record) -> None:
    """Check that a head is the number and the hash of an event."""
    is_event = set(head) == {"seq", "hash"} and type(head["seq"]) is int and head["seq"] > 0
    if not is_event or not is_hash(head["hash"]):
        raise Wrong("a head is not the number and the hash of an event")


def check_event(event: Record, may_be_cut: bool) -> bool:
    """Check the event's columns, and the hash over all columns but itself.

    Return True if the hash could not be checked, because a column was cut for spreadsheets.
    """
    if set(event) != set(COLUMNS):
        names = ", ".join(sorted(set(event) ^ set(COLUMNS)))
        raise Wrong(f"is not an event; extra or missing columns: {printable(names)}")
    for name in COLUMNS:
        if type(event[name]) is not (int if name in NUMBERS else str):
            raise Wrong(f"the event's {name} has the wrong type")
    if event["format"] != EVENT_FORMAT:
        raise CannotCheck(
            f"Event {event['seq']} has format {event['format']},"
            f" but this program only knows {EVENT_FORMAT}."
        )
    if not TIME.fullmatch(event["at"]):
        raise Wrong("the event's at is not a time in UTC with microseconds")
    columns = {name: event[name] for name in COLUMNS if name != "hash"}
    if hashlib.sha256(canonical(columns)).hexdigest() != event["hash"]:
        is_cut = any(CUT.search(value) for value in columns.values() if isinstance(value, str))
        if may_be_cut and is_cut and is_hash(event["hash"]):
            return True
        raise Wrong(f"event {event['seq']} was changed: its hash does not match its columns")
    return False


def is_hash(value: object) -> bool:
    """Return whether this is a SHA-256 in lower-case hexadecimal."""
    return isinstance(value, str) and HASH.fullmatch(value) is not None


# --- heads and checkpoints that the auditor has kept -------------------------------------------


class Kept:
    """Heads that were kept elsewhere, each of which must be in the export.

    Those that a restored backup does not contain are the exception, if a signed event says so.
    """

    def __init__(
        self, heads: Iterable[str], checkpoints: dict[int, dict[str, Record]], known: list[bytes]
    ) -> None:
        self.heads = set(heads)
        self.checkpoints = checkpoints  # by the number and the hash of their event
        self.known = known
        self.met: dict[str, int] = {}
        self.met_checkpoints = 0
        self.replaced: list[Record] = []  # checkpoints of other events with these numbers
        self.restores: list[Record] = []  # data of the events about restored backups
        self.notes: list[str] = []
        self.covered = 0  # the newest event that any of them covers

    def compare(self, event: Record) -> None:
        """Compare an event with the kept heads."""
        if event["kind"] == "RESTORED":
            self._take_restore(event)
        if event["hash"] in self.heads:
            self.met[event["hash"]] = self.covered = event["seq"]
        for digest, checkpoint in self.checkpoints.get(event["seq"], {}).items():
            if digest == event["hash"]:
                self.met_checkpoints += 1
                self.covered = event["seq"]
            else:
                self.replaced.append(checkpoint)

    def _take_restore(self, event: Record) -> None:
        """Take an event that says that the database was restored from a backup."""
        where = f"event {event['seq']}, about a restored backup,"
        restore = parse_restore(event["data"])
        if restore is None:
            self.notes.append(f"NOTE: {where} cannot be read and is not relied on.")
            return
        if (restore["restored_seq"], restore["restored_hash"]) != (
            event["seq"] - 1,
            event["previous"],
        ):
            self.notes.append(f"NOTE: {where} was made for another log and is not relied on.")
            return
        try:
            check_signed(restore, where, self.known)
        except Wrong as wrong:
            self.notes.append(f"NOTE: {wrong}, and is not relied on.")
            return
        self.restores.append(restore)
        lost = (
            f"the log lacks the events of {len(restore['lost_heads'])} checkpoints, up to event"
            f" {restore['lost_seq']}"
            if restore["lost_heads"]
            else "no checkpoint is missing"
        )
        self.notes.append(
            f"NOTE: the log was restored from a backup, as {printable(restore['by'])} recorded at"
            f" {printable(restore['recorded_at'])} in event {event['seq']}: checkpoints proved"
            f" events up to {restore['proven_seq']}, and {lost}. Reason:"
            f" {printable(restore['reason'])}"
        )

    def is_explained(self, checkpoint: Record) -> bool:
        """Return whether a restored backup is why the log lacks the event of a checkpoint."""
        return any(checkpoint["hash"] in restore["lost_heads"] for restore in self.restores)

    def conclude(self, header: Record, manifest: Record) -> Iterator[str]:
        """Yield the results as sentences. Raises `Wrong` and `CannotCheck`."""
        yield from self.notes
        if not self.heads and not self.checkpoints:
            return
        if not header["whole"]:
            raise CannotCheck(
                "This export is filtered; only a whole one can be compared with kept heads."
            )
        yield from self._conclude_heads()
        if self.checkpoints:
            yield from self._conclude_checkpoints(header, manifest)
        yield from self._uncovered(header["head"]["seq"])

    def _conclude_heads(self) -> Iterator[str]:
        for head in sorted(self.heads):
            if head not in self.met:
                raise Wrong(
                    f"the kept head {head} is not in this export: the log was rewritten, its end"
                    " was cut off, or that head is newer than this export"
                )
            yield f"The kept head {head[:16]}... is event {self.met[head]}."

    def _conclude_checkpoints(self, header: Record, manifest: Record) -> Iterator[str]:
        lost = [checkpoint for checkpoint in self.replaced if self.is_explained(checkpoint)]
        for checkpoint in self.replaced:
            if checkpoint not in lost:
                raise Wrong(
                    f"event {checkpoint['seq']} is not the one that the checkpoint of"
                    f" {printable(checkpoint['at'])} recorded: the log was rewritten"
                )
        newer = []
        for seq, by_hash in self.checkpoints.items():
            if seq <= header["head"]["seq"]:
                continue
            rest = [item for item in by_hash.values() if not self.is_explained(item)]
            lost += [item for item in by_hash.values() if item not in rest]
            newer += rest
            if len(rest) > 1:
                raise Wrong(
                    f"two checkpoints record different events {seq}: the log was rewritten between"
                    " the two"
                )
        for checkpoint in newer:
            check_newer(checkpoint, header, manifest)
        if lost and not self.known:
            raise CannotCheck(
                f"{len(lost)} checkpoints are missing from this export, which an event about a"
                " restored backup explains. Whether it is genuine was not checked: give the key"
                " with --public-key."
            )
        if not self.covered:
            newer_text = f"All {len(newer)} checkpoints are newer than this export"
            lost_text = f"All {len(lost) + len(newer)} checkpoints are newer, or lost with a backup"
            raise CannotCheck(f"{lost_text if lost else newer_text}; they prove nothing about it.")
        yield f"{self.met_checkpoints} checkpoints are in this export."
        if lost:
            yield f"NOTE: {len(lost)} checkpoints are of events that the restored backup lost."
        if newer:
            yield (
                f"NOTE: {len(newer)} checkpoints are newer than this export;"
                " they prove nothing about it."
            )

    def _uncovered(self, end: int) -> Iterator[str]:
        """Yield a note about events after the last kept head."""
        if end == self.covered + 1:
            yield f"NOTE: event {end}, at the end, is not covered by any head that you kept."
        elif end > self.covered:
            events = f"events {self.covered + 1} to {end}"
            yield f"NOTE: {events}, at the end, are not covered by any head that you kept."


def check_newer(checkpoint: Record, header: Record, manifest: Record) -> None:
    """Check that a checkpoint of an event after the export's last one was made after the export."""
    end, end_event = header["head"]["seq"], manifest["completed"]
    if checkpoint["at"] <= header["exported_at"]:
        raise Wrong(
            f"the checkpoint of {printable(checkpoint['at'])} recorded event {checkpoint['seq']},"
            f" but this export was made later and ends with event {end}: the end of the log was"
            " cut off, or two clocks differ"
        )
    if checkpoint["seq"] == end_event["seq"] and checkpoint["hash"] != end_event["hash"]:
        raise Wrong(
            f"event {end_event['seq']}, which completed this export, is not the one that the"
            f" checkpoint of {printable(checkpoint['at'])} recorded: the log was rewritten, or its"
            " end was cut off"
        )


def checkpoints_in(path: str | None, known: list[bytes]) -> dict[int, dict[str, Record]]:
    """Return the kept checkpoints by the number and the hash of their event."""
    checkpoints: dict[int, dict[str, Record]] = {}
    unreadable = last_number = 0
    last_line = b""
    if path is None:
        return checkpoints
    with open(path, "rb") as file:
        lines = iter(lambda: file.readline(MAX_CHECKPOINT_BYTES), b"")
        for number, line in enumerate(lines, start=1):
            checkpoint = parse_checkpoint(line)
            if checkpoint is None:
                unreadable += 1  # a crash leaves half a line
                continue
            by_hash = checkpoints.setdefault(checkpoint["seq"], {})
            earlier = by_hash.setdefault(checkpoint["hash"], checkpoint)
            earlier["at"] = min(earlier["at"], checkpoint["at"])
            # A signature covers its line, which contains the SHA-256 of the line before. So a line
            # to which the next one refers needs no check of its own.
            if last_line and checkpoint["previous"] != hashlib.sha256(last_line).hexdigest():
                check_signed(json.loads(last_line), f"line {last_number} of {path}", known)
            last_line, last_number = line.rstrip(b"\r\n"), number
    if not checkpoints:
        raise CannotCheck(f"{path} contains no checkpoint.")
    check_signed(json.loads(last_line), f"line {last_number} of {path}", known)
    if not known:
        print("NOTE: the checkpoints' signatures were not checked: no key was given.")
    if unreadable:
        print(f"NOTE: {unreadable} lines of {path} are not checkpoints and were not used.")
    return checkpoints


def parse_restore(data: str) -> Record | None:
    """Return the data of an event about a restored backup, or None if it is not what we write."""
    try:
        restore = canonical_record(data.encode())
        numbers = [restore[name] for name in ("restored_seq", "proven_seq", "lost_seq")]
        texts = [restore[name] for name in ("recorded_at", "by", "reason", "restored_hash")]
        texts += restore["lost_heads"]
    except (Wrong, ValueError, KeyError, TypeError):
        return None
    is_usual = all(type(number) is int for number in numbers) and all(
        isinstance(text, str) for text in texts
    )
    return restore if is_usual else None


def parse_checkpoint(line: bytes) -> Record | None:
    """Return the checkpoint on a line, or None if it is not one."""
    try:
        record = json.loads(line)
        checkpoint = {name: record[name] for name in ("seq", "hash", "at")}
        checkpoint["previous"] = record.get("previous")
        is_head = type(checkpoint["seq"]) is int and is_hash(checkpoint["hash"])
        return checkpoint if is_head and TIME.fullmatch(checkpoint["at"]) else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def check_signed(record: Record, where: str, known: list[bytes]) -> None:
    """Check that a record is signed with one of the known keys, if any."""
    if not known:
        return
    record = dict(record)
    signature = record.pop("signature", None)
    der = {key_id_of(der): der for der in known}.get(str(record.get("key_id")))
    if der is None or not isinstance(signature, str):
        raise Wrong(f"{where} is not signed with a key that you gave")
    try:
        method = check_signature(canonical(record), signature, der)
    except Wrong as wrong:
        raise Wrong(f"{where}: {wrong}") from None
    if method is None:
        raise CannotCheck(
            "Checking the signatures of checkpoints needs Python's cryptography, or openssl 3."
        )


# --- signatures ---------------------------------------------------------------------------------


def der_of(pem: str) -> bytes | None:
    """Return an Ed25519 public key in DER, or None if the text is not one."""
    match = PEM.fullmatch(pem)
    try:
        der = base64.b64decode("".join(match.group(1).split()), validate=True) if match else b""
    except binascii.Error:
        return None
    return der if der.startswith(ED25519) and len(der) == len(ED25519) + 32 else None


def key_id_of(der: bytes) -> str:
    """Return the short name of a key."""
    return hashlib.sha256(der).hexdigest()[:16]


def conclude_signature(manifest: Record, known: list[bytes]) -> str:
    """Return a sentence about the signature. Raises `Wrong` and `CannotCheck`."""
    if not manifest["signature"]:
        if known:
            raise Wrong("the export is not signed, although you gave a key to check it with")
        return "NOTE: the export is NOT SIGNED, so it says nothing about who made it."
    der = der_of(manifest["public_key"])
    if der is None or key_id_of(der) != manifest["key_id"]:
        raise Wrong("the manifest's public key is invalid, or key_id is not that of the key")
    if known and der not in known:
        names = ", ".join(map(key_id_of, known))
        raise Wrong(f"the export names the key {key_id_of(der)}, but you gave {names}")
    content = {name: value for name, value in manifest.items() if name != "signature"}
    method = check_signature(canonical(content), manifest["signature"], der)
    if method is None and known:
        raise CannotCheck("Checking the signature needs Python's cryptography, or openssl 3.")
    if method is None:
        return "NOTE: the signature was NOT CHECKED: checking needs cryptography or openssl 3."
    if known:
        return f"Signed with the key {key_id_of(der)} that you gave (checked with {method})."
    return (
        f"NOTE: signed with the key {key_id_of(der)} (checked with {method}), WHICH CAME WITH THE"
        " FILE and so proves little: a forger would add a key, too. Give one that you trust:"
        " --public-key."
    )


def check_signature(message: bytes, signature: str, der: bytes) -> str | None:
    """Return the program that checked it, None if there is none. Raises `Wrong` if invalid."""
    try:
        raw = base64.b64decode(signature, validate=True)
    except ValueError:
        raw = b""
    if base64.b64encode(raw).decode("ascii") != signature:
        raise Wrong("the signature is not base64")
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError:
        return check_with_openssl(message, raw, der)
    try:
        Ed25519PublicKey.from_public_bytes(der[len(ED25519) :]).verify(raw, message)
    except InvalidSignature:
        raise Wrong("the signature is invalid") from None
    return "cryptography"


def check_with_openssl(message: bytes, raw: bytes, der: bytes) -> str | None:
    """Check a signature with `openssl`, which reads from files."""
    with tempfile.TemporaryDirectory() as directory:
        paths = {name: Path(directory, name) for name in ("message", "signature", "key")}
        paths["message"].write_bytes(message)
        paths["signature"].write_bytes(raw)
        paths["key"].write_bytes(der)
        command = ["openssl", "pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-rawin"]
        command += ["-inkey", str(paths["key"]), "-sigfile", str(paths["signature"])]
        command += ["-in", str(paths["message"])]
        try:
            process = subprocess.run(command, capture_output=True, check=False)  # noqa: S603
        except OSError:
            return None
    output = process.stdout + process.stderr
    if process.returncode == 0 and b"Verified Successfully" in output:
        return "openssl"
    if b"Verification Failure" in output:
        raise Wrong("the signature is invalid")
    return None  # this openssl is too old


# --- the export as a whole ---------------------------------------------------------------------


def verify(lines: Lines, records: Iterable[Record], kept: Kept, formats: tuple[int, ...]) -> Walk:
    """Read the file once. Raises `Wrong` at the first problem."""
    walk: Walk | None = None
    for record in records:
        if walk is None:
            walk = Walk(record, kept, formats)
        elif walk.manifest:
            raise Wrong("comes after the manifest: more than one export in the file?")
        elif record.get("record") == "manifest":
            walk.close(record, lines.sha256_before())
        else:
            walk.take(record)
    if walk is None:
        raise Wrong("the file is empty")
    if not walk.manifest:
        raise Wrong("no manifest follows: the export was interrupted, or its end was cut off")
    return walk


def conclude(walk: Walk, known: list[bytes]) -> Iterator[str]:
    """Yield what is proven and what is not, as sentences."""
    header = walk.header
    yield (
        f"Exported at {header['exported_at']} by {printable(header['exported_by'])},"
        f" environment {printable(header['environment'])},"
        f" software {printable(header['software'])}."
    )
    yield conclude_signature(walk.manifest, known)
    yield from walk.kept.conclude(header, walk.manifest)
    hashes = f"every hash but {len(walk.cut)}" if walk.cut else "every hash"
    if header["whole"]:
        links = f"every link and {hashes}" if walk.cut else f"{hashes} and link"
        yield f"The whole log: events 1 to {walk.count}, no gaps, {links} correct."
        if not walk.kept.heads and not walk.kept.checkpoints:
            yield (
                "NOTE: a person who can rewrite the whole log can make such a file. Compare it with"
                " a head (--head) or checkpoints (--checkpoints) that you kept."
            )
    else:
        filters = ", ".join(f"{name} {value}" for name, value in sorted(header["filter"].items()))
        yield f"A filtered export: {printable(filters)}; {walk.count} events, {hashes} correct."
        yield (
            "NOTE: continuity is NOT PROVEN. That no event is missing is only the signer's"
            " statement; a whole export proves it."
        )
    if walk.backwards:
        yield f"NOTE: the clock went back {walk.backwards} times; the order is that of seq."
    yield f"Keep this head: {walk.head['hash']} (event {walk.head['seq']})."
    if walk.cut:
        raise CannotCheck(
            f"The texts of {len(walk.cut)} events, the first of which is event {walk.cut[0]}, were"
            " cut for spreadsheets, so their hashes do not prove them. Check the JSON Lines export."
        )


def check(file: io.BufferedReader, kept: Kept, known: list[bytes]) -> None:
    """Check one export and print the result. Raises `Wrong` or `CannotCheck`."""
    lines = Lines(file)
    # A CSV export begins with a byte order mark, or with a quote if another program removed that.
    is_csv = file.peek(4).startswith((b'\xef\xbb\xbf"', b'"'))
    records = records_of_csv(lines) if is_csv else records_of_json_lines(lines)
    formats = CSV_FORMATS if is_csv else JSON_LINES_FORMATS
    try:
        for sentence in conclude(verify(lines, records, kept, formats), known):
            print(sentence)
    except Wrong as wrong:
        raise Wrong(f"line {lines.number}: {wrong}") from None


def key_in(path: str) -> bytes:
    """Return the public key in a file."""
    der = der_of(Path(path).read_text(encoding="ascii", errors="replace"))
    if der is None:
        raise CannotCheck(f"{path} is not an Ed25519 public key in PEM.")
    return der


def run(options: argparse.Namespace) -> None:
    """Read the kept heads, checkpoints and keys, then check the export."""
    if not all(is_hash(head) for head in options.head):
        raise CannotCheck("A head is 64 hexadecimal digits in lower case.")
    known = [key_in(path) for path in options.public_key]
    kept = Kept(options.head, checkpoints_in(options.checkpoints, known), known)
    if options.export == "-":
        check(sys.stdin.buffer, kept, known)  # type: ignore[arg-type]
        return
    with open(options.export, "rb") as file:
        check(file, kept, known)


def main(arguments: list[str] | None = None) -> int:
    """Print the result and return the exit code."""
    parser = argparse.ArgumentParser(description="Verify an export of the kill switch's audit log.")
    parser.add_argument("export", metavar="EXPORT", help="the file, or - for standard input")
    parser.add_argument(
        "--public-key",
        metavar="FILE",
        action="append",
        default=[],
        help="a trusted key (PEM): the export and each checkpoint must be signed with one of these",
    )
    parser.add_argument(
        "--head", metavar="HASH", action="append", default=[], help="a head that you kept"
    )
    parser.add_argument("--checkpoints", metavar="FILE", help="a checkpoints.jsonl you kept")
    options = parser.parse_args(arguments)
    try:
        run(options)
        print("PASSED: every check that you requested.")
    except Wrong as wrong:
        print(f"FAILED: {wrong}.")
        return 1
    except CannotCheck as error:
        print(f"COULD NOT CHECK. {error}")
        return 2
    except Exception as error:  # noqa: BLE001 (an error of this program is no forgery)
        print(f"COULD NOT CHECK. {type(error).__name__}: {printable(error)}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
