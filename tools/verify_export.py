"""Checks an export of the kill switch's audit log without the kill switch.

    python3 verify_export.py EXPORT [--public-key FILE]... [--head HASH]... [--checkpoints FILE]

EXPORT is a JSON Lines or CSV file as the kill switch wrote it, or - for standard input. One file,
Python 3.8 or later, its standard library only. The rules that this program recomputes are written
down in docs/auditors.md; it shares no code with the program that made the export. Signatures need
the Python package `cryptography` or the program `openssl` (3.0 or later).

Exit: 0 every check that was asked for was made and passed, 1 the export is not what it should be,
2 something could not be checked.
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

EXPORT_FORMAT = 1
EVENT_FORMAT = 1
GENESIS = "0" * 64  # stands for the hash before the first event
MOST_LINE = 64 * 1024 * 1024  # bytes; no event comes near it
MOST_CHECKPOINT = 64 * 1024  # bytes
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
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)
A_HASH = re.compile("[0-9a-f]{64}")
# An apostrophe that the export put there to keep a spreadsheet from running the cell.
GUARD = re.compile("(^|[,;|\t\r\n])([ \"]*)'(?=['=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20])")
PEM = re.compile(
    r"\s*-----BEGIN PUBLIC KEY-----\s+([A-Za-z0-9+/=\s]+?)\s*-----END PUBLIC KEY-----\s*"
)
# What every Ed25519 public key begins with in DER; its 32 bytes follow.
ED25519 = bytes.fromhex("302a300506032b6570032100")

Record = Dict[str, Any]  # noqa: UP006 (Python 3.8)


class Wrong(Exception):
    """The export is not what it should be: exit 1."""


class CannotCheck(Exception):
    """Whether it is cannot be said: exit 2."""


# --- reading ------------------------------------------------------------------------------------


class Lines:
    """The lines of a file, one at a time, with the SHA-256 of all the lines before."""

    def __init__(self, file: io.BufferedReader) -> None:
        self.number = 0
        self.last = b""
        self._file = file
        self._before = hashlib.sha256()

    def __iter__(self) -> Iterator[bytes]:
        while line := self._file.readline(MOST_LINE + 1):
            self.number += 1
            self._before.update(self.last)
            self.last = line
            if len(line) > MOST_LINE:
                raise Wrong("is longer than any line of an export")
            if not line.endswith(b"\n"):
                raise Wrong("has no end: the file was cut off here, or its last line was changed")
            yield line

    def sha256_before(self) -> str:
        """Of everything before the line that was yielded last."""
        return self._before.hexdigest()


def records_of_json_lines(lines: Lines) -> Iterator[Record]:
    """Each line is a record."""
    for line in lines:
        if line.endswith(b"\r\n"):
            raise Wrong("ends with CR LF: something rewrote the line ends; copy files as binary")
        yield canonical_record(line[:-1])


def records_of_csv(lines: Lines) -> Iterator[Record]:
    """The same records, from cells."""
    csv.field_size_limit(MOST_LINE)
    rows = csv.reader(map(csv_text, lines), strict=True)
    try:
        for number, row in enumerate(rows):
            cells = [GUARD.sub(r"\1\2", cell) for cell in row]
            if number == 0:
                yield marked(cells, "# header")
            elif number == 1:
                if cells != COLUMNS:
                    raise Wrong("does not name the columns as it should")
            elif cells[:1] == ["# manifest"]:
                # No hash covers this line, so that its form is looked at more closely.
                if not lines.last.startswith(b'"# manifest","') or lines.last[-3:] != b'"\r\n':
                    raise Wrong("is not written as an export writes its manifest")
                yield marked(cells, "# manifest")
            else:
                yield event_of(cells)
    except csv.Error as error:
        raise Wrong(f"cannot be read as CSV: {error}") from None


def csv_text(line: bytes) -> str:
    """The first line begins with a byte order mark, by which spreadsheets know UTF-8."""
    return text(line[3:] if line.startswith(b'\xef\xbb\xbf"# header') else line)


def marked(cells: list[str], mark: str) -> Record:
    """The header or the manifest, whose second cell is JSON."""
    if len(cells) != 2 or cells[0] != mark:
        raise Wrong("does not begin as an export does")
    return canonical_record(cells[1].encode("utf-8"))


def event_of(cells: list[str]) -> Record:
    """An event, in which two cells are numbers."""
    if len(cells) != len(COLUMNS):
        raise Wrong(f"has {len(cells)} cells instead of {len(COLUMNS)}")
    event: Record = {name: cells[place] for place, name in enumerate(COLUMNS)}
    for name in NUMBERS:
        if not re.fullmatch("[1-9][0-9]{0,17}", event[name]):
            raise Wrong(f"{name} is not a number: {shown(event[name])}")
        event[name] = int(event[name])
    return event


def text(line: bytes) -> str:
    """Strict UTF-8."""
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        raise Wrong("is not UTF-8") from None


def canonical_record(line: bytes) -> Record:
    """The JSON object on a line, which must be written in the one canonical way."""
    try:
        found = json.loads(
            text(line),
            object_pairs_hook=without_duplicates,
            parse_int=small_integer,
            parse_float=refused_number,
            parse_constant=refused_number,
        )
    except (ValueError, RecursionError):
        raise Wrong("is not JSON") from None
    if not isinstance(found, dict):
        raise Wrong("is not a JSON object")
    if canonical(found) != line:
        raise Wrong("is not written in the canonical form: something rewrote the file")
    return found


def canonical(value: Record) -> bytes:
    """RFC 8785 for what an export holds: texts, whole numbers, true, false, null, ASCII keys."""
    written = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    try:
        return written.encode("utf-8")
    except UnicodeEncodeError:
        raise Wrong("holds half a surrogate pair, which is no character") from None


def without_duplicates(pairs: list[tuple[str, Any]]) -> Record:
    """An object in which no key stands twice: two readers could see two different values."""
    found: Record = {}
    for key, value in pairs:
        if key in found:
            raise Wrong(f"has the key {shown(key)} twice")
        found[key] = value
    return found


def small_integer(digits: str) -> int:
    """Longer ones are no numbers of an export, and could take hours to read."""
    if len(digits) > 18:
        raise Wrong("holds a number that is too large")
    return int(digits)


def refused_number(digits: str) -> None:
    """Fractions, NaN and the infinite."""
    raise Wrong(f"holds {shown(digits)}, which no export does")


def shown(value: object) -> str:
    """Foreign text for a terminal: printable ASCII only, and not too much of it."""
    escaped = str(value)[:100].encode("unicode_escape").decode("ascii")
    return escaped if len(escaped) <= 100 else f"{escaped[:100]}..."


# --- walking ------------------------------------------------------------------------------------


class Walk:
    """What is known while going from the header through the events to the manifest."""

    def __init__(self, header: Record, kept: Kept) -> None:
        check_shape(header, HEADER, "header")
        if header["columns"] != COLUMNS:
            raise Wrong("the header names other columns than an export has")
        if header["whole"] != (not header["filter"]):
            raise Wrong("the header says both that the export is whole and that it is filtered")
        if not INSTANT.fullmatch(header["exported_at"]):
            raise Wrong("exported_at is not a time in UTC with microseconds")
        self.header = header
        self.head = header["head"]
        self.kept = kept
        self.manifest: Record = {}
        self.count = self.first = self.backwards = 0
        self.last: Record = {"seq": 0, "hash": GENESIS, "at": ""}

    def take(self, event: Record) -> None:
        """One event: its own hash, its place behind the one before, whether it belongs here."""
        check_event(event)
        self._check_place(event)
        self._check_filter(event)
        self.kept.compare(event)
        self.count += 1
        self.first = self.first or event["seq"]
        self.backwards += event["at"] < self.last["at"]
        self.last = event

    def _check_place(self, event: Record) -> None:
        seq, before = event["seq"], self.last["seq"]
        if seq <= before:
            raise Wrong(f"event {seq} comes after event {before}")
        if self.header["whole"] and seq != before + 1:
            raise Wrong(f"event {seq} comes after event {before}: what was between is missing")
        if seq == before + 1 and event["previous"] != self.last["hash"]:
            raise Wrong(f"event {seq} is not chained to event {before}")
        if seq > self.head["seq"]:
            raise Wrong(f"event {seq} is newer than the export's head, event {self.head['seq']}")
        if seq == self.head["seq"] and event["hash"] != self.head["hash"]:
            raise Wrong(f"event {seq} has another hash than the header gives its head")

    def _check_filter(self, event: Record) -> None:
        wanted = self.header["filter"]
        odd = [name for name in FILTERED if event[name] != wanted.get(name, event[name])]
        if event["at"] < wanted.get("from", "") or event["at"] >= wanted.get("to", "~"):
            odd.append("at")
        if odd:
            raise Wrong(f"event {event['seq']} is not what the filter selects: {', '.join(odd)}")

    def close(self, manifest: Record, sha256: str) -> None:
        """The last line must say of the lines before it what they are."""
        check_shape(manifest, MANIFEST, "manifest")
        for name in ("filter", "head"):
            if manifest[name] != self.header[name]:
                raise Wrong(f"the manifest and the header differ: {name}")
        if manifest["count"] != self.count:
            raise Wrong(f"the manifest says {manifest['count']} events, there are {self.count}")
        if (manifest["first_seq"] or 0, manifest["last_seq"] or 0) != (
            self.first,
            self.last["seq"],
        ):
            raise Wrong("the manifest names another first or last event")
        if manifest["sha256"] != sha256:
            raise Wrong("the lines before have another SHA-256 than the manifest says")
        if self.header["whole"]:
            self._check_end()
        if manifest["completed"]["seq"] <= self.head["seq"]:
            raise Wrong("the export was completed before it was begun")
        self.manifest = manifest

    def _check_end(self) -> None:
        """A whole export ends with the event that says that it was made."""
        last, header = self.last, self.header
        if last["seq"] != self.head["seq"]:
            raise Wrong(f"the events end with {last['seq']}, and the head is {self.head['seq']}")
        said = (header["exported_at"], header["exported_by"], header["role"])
        is_export = last["kind"] == "EXPORTED" and filter_in(last["data"]) == {}
        if not is_export or (last["at"], last["actor"], last["role"]) != said:
            raise Wrong("the last event is not the one that records this export")


def filter_in(data: str) -> object:
    """What the event of an export says was selected."""
    try:
        return json.loads(data)["filter"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def check_shape(record: Record, shape: dict[str, Any], name: str) -> None:
    """The header or the manifest has exactly its keys, each of its type."""
    if record.get("record") != name:
        raise Wrong(f"is not a {name}")
    if record.get("format") != EXPORT_FORMAT:
        raise CannotCheck(
            f"The file has export format {shown(record.get('format'))},"
            f" and this program knows {EXPORT_FORMAT}."
        )
    if set(record) != set(shape):
        odd = ", ".join(sorted(set(record) ^ set(shape)))
        raise Wrong(f"the {name} has these too much or not: {shown(odd)}")
    for key, kind in shape.items():
        # To Python, true is a whole number.
        is_truth = isinstance(record[key], bool) and kind is not bool
        if is_truth or not isinstance(record[key], kind):
            raise Wrong(f"the {name}'s {key} is not of its type")
    if not all(isinstance(value, str) for value in record["filter"].values()):
        raise Wrong(f"the {name}'s filter holds something else than text")
    for key in {"head", "completed"} & set(shape):
        check_head(record[key])


def check_head(head: Record) -> None:
    """A number and a hash."""
    is_event = set(head) == {"seq", "hash"} and type(head["seq"]) is int and head["seq"] > 0
    if not is_event or not is_hash(head["hash"]):
        raise Wrong("a head is not the number and the hash of an event")


def check_event(event: Record) -> None:
    """The event's columns, and the hash over all of them but itself."""
    if set(event) != set(COLUMNS):
        odd = ", ".join(sorted(set(event) ^ set(COLUMNS)))
        raise Wrong(f"is not an event; too much or missing: {shown(odd)}")
    for name in COLUMNS:
        if type(event[name]) is not (int if name in NUMBERS else str):
            raise Wrong(f"the event's {name} is not of its type")
    if event["format"] != EVENT_FORMAT:
        raise CannotCheck(
            f"Event {event['seq']} has format {event['format']},"
            f" and this program knows {EVENT_FORMAT}."
        )
    if not INSTANT.fullmatch(event["at"]):
        raise Wrong("the event's at is not a time in UTC with microseconds")
    hashed = {name: event[name] for name in COLUMNS if name != "hash"}
    if hashlib.sha256(canonical(hashed)).hexdigest() != event["hash"]:
        raise Wrong(f"event {event['seq']} was changed: its content has another hash")


def is_hash(value: object) -> bool:
    """SHA-256 in lower case hexadecimal."""
    return isinstance(value, str) and A_HASH.fullmatch(value) is not None


# --- what the auditor has kept ------------------------------------------------------------------


class Kept:
    """Heads that were kept elsewhere, each to be met again in the export."""

    def __init__(self, heads: Iterable[str], checkpoints: dict[int, Record]) -> None:
        self.heads = set(heads)
        self.checkpoints = checkpoints
        self.met: dict[str, int] = {}
        self.met_checkpoints = 0
        self.covered = 0  # the newest event that any of them covers

    def compare(self, event: Record) -> None:
        """Whether this event is one of them, and unchanged."""
        if event["hash"] in self.heads:
            self.met[event["hash"]] = self.covered = event["seq"]
        checkpoint = self.checkpoints.get(event["seq"])
        if checkpoint is None:
            return
        if checkpoint["hash"] != event["hash"]:
            raise Wrong(
                f"event {event['seq']} is not the one that the checkpoint of"
                f" {shown(checkpoint['at'])} kept: the log was rewritten"
            )
        self.met_checkpoints += 1
        self.covered = event["seq"]

    def conclude(self, header: Record, manifest: Record) -> Iterator[str]:
        """What was met, in words."""
        if not self.heads and not self.checkpoints:
            return
        if not header["whole"]:
            raise CannotCheck(
                "This export is filtered; only a whole one can be compared with what was kept."
            )
        yield from self._heads_met()
        if self.checkpoints:
            yield from self._checkpoints_met(header, manifest)
        yield from self._beyond(header["head"]["seq"])

    def _heads_met(self) -> Iterator[str]:
        for head in sorted(self.heads):
            if head not in self.met:
                raise Wrong(
                    f"the kept head {head} is not in this export: the log was rewritten, its end"
                    " was cut off, or that head is newer than this export"
                )
            yield f"The kept head {head[:16]}... is event {self.met[head]}."

    def _checkpoints_met(self, header: Record, manifest: Record) -> Iterator[str]:
        newer = [one for seq, one in self.checkpoints.items() if seq > header["head"]["seq"]]
        for one in newer:
            check_newer(one, header, manifest)
        if not self.covered:
            raise CannotCheck(
                f"The checkpoints: all {len(newer)} kept heads are newer than this export;"
                " they prove nothing about it."
            )
        yield f"{self.met_checkpoints} checkpoints are in this export."
        if newer:
            yield (
                f"NOTE: {len(newer)} kept heads are newer than this export;"
                " they prove nothing about it."
            )

    def _beyond(self, end: int) -> Iterator[str]:
        """What was appended after the last head that was kept."""
        if end == self.covered + 1:
            yield f"NOTE: event {end}, at the end, is covered by nothing that you kept."
        elif end > self.covered:
            events = f"events {self.covered + 1} to {end}"
            yield f"NOTE: {events}, at the end, are covered by nothing that you kept."


def check_newer(one: Record, header: Record, manifest: Record) -> None:
    """A checkpoint of an event after the export's last one must be younger than the export."""
    end, completed = header["head"]["seq"], manifest["completed"]
    if one["at"] <= header["exported_at"]:
        raise Wrong(
            f"the checkpoint of {shown(one['at'])} kept event {one['seq']}, and this export"
            f" was made later and ends with {end}: the log's end was cut off"
            " (or two clocks differ)"
        )
    if one["seq"] == completed["seq"] and one["hash"] != completed["hash"]:
        raise Wrong(
            f"this export was completed by another event {one['seq']} than the checkpoint of"
            f" {shown(one['at'])} kept: the log was rewritten, or its end was cut off"
        )


def checkpoints_in(path: str | None, known: list[bytes]) -> dict[int, Record]:
    """The kept checkpoints, by the number of the event that each kept."""
    found: dict[int, Record] = {}
    unread = 0
    if path is None:
        return found
    signed = Signed(known, path)
    with open(path, "rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(MOST_CHECKPOINT), b""), start=1):
            one = checkpoint(line)
            if one is None:
                unread += 1  # a crash while it was written leaves half a line
                continue
            earlier = found.setdefault(one["seq"], one)
            if earlier["hash"] != one["hash"]:
                raise Wrong(
                    f"line {number} of {path} kept another event {one['seq']} than a line before:"
                    " the log was rewritten between the two"
                )
            earlier["at"] = min(earlier["at"], one["at"])
            signed.take(line, number)
    if not found:
        raise CannotCheck(f"{path} holds no checkpoint.")
    signed.end()
    if unread:
        print(f"NOTE: {unread} lines of {path} are no checkpoints and were not used.")
    return found


def checkpoint(line: bytes) -> Record | None:
    """What a line of the file kept, if it did."""
    try:
        one = json.loads(line)
        kept = {"seq": one["seq"], "hash": one["hash"], "at": one["at"]}
        is_one = type(kept["seq"]) is int and is_hash(kept["hash"])
        return kept if is_one and INSTANT.fullmatch(kept["at"]) else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


class Signed:
    """Whether checkpoints are signed with a key that is known.

    A signature is over the line, which holds the SHA-256 of the line before: so a line that the
    next one names needs no look of its own.
    """

    def __init__(self, known: list[bytes], path: str) -> None:
        self._known = {key_id_of(der): der for der in known}
        self._path = path
        self._last = b""
        self._number = 0

    def take(self, line: bytes, number: int) -> None:
        """One more line, which may answer for the one before."""
        line = line.rstrip(b"\r\n")
        if (
            self._last
            and json.loads(line).get("previous") != hashlib.sha256(self._last).hexdigest()
        ):
            self._check()
        self._last, self._number = line, number

    def end(self) -> None:
        """Nobody answers for the last line."""
        if self._known:
            self._check()
        else:
            print("NOTE: the checkpoints' signatures were not checked: no key was given.")

    def _check(self) -> None:
        if not self._known:
            return
        one = json.loads(self._last)
        der = self._known.get(str(one.get("key_id")))
        signature = one.pop("signature", None)
        where = f"line {self._number} of {self._path}"
        if der is None or not isinstance(signature, str):
            raise Wrong(f"{where} is not signed with a key that you gave: who wrote it?")
        try:
            how = check_signature(canonical(one), signature, der)
        except Wrong as wrong:
            raise Wrong(f"{where}: {wrong}") from None
        if how is None:
            raise CannotCheck(
                "The checkpoints' signatures: they need Python's cryptography, or openssl 3."
            )


# --- signatures ---------------------------------------------------------------------------------


def der_of(pem: str) -> bytes | None:
    """An Ed25519 public key in DER, or nothing when the text is none."""
    match = PEM.fullmatch(pem)
    try:
        der = base64.b64decode("".join(match.group(1).split()), validate=True) if match else b""
    except binascii.Error:
        return None
    return der if der.startswith(ED25519) and len(der) == len(ED25519) + 32 else None


def key_id_of(der: bytes) -> str:
    """A short name of a key."""
    return hashlib.sha256(der).hexdigest()[:16]


def conclude_signature(manifest: Record, known: list[bytes]) -> str:
    """What the signature is worth, in words."""
    if not manifest["signature"]:
        if known:
            raise Wrong("the export is not signed, and it should be, with the key that you gave")
        return "NOTE: the export is NOT SIGNED, so it says nothing about who made it."
    der = der_of(manifest["public_key"])
    if der is None or key_id_of(der) != manifest["key_id"]:
        raise Wrong("the manifest's public key is none, or key_id is not that of the key")
    if known and der not in known:
        given = ", ".join(map(key_id_of, known))
        raise Wrong(f"the key is {key_id_of(der)}, and the one that you gave {given}")
    unsigned = {name: value for name, value in manifest.items() if name != "signature"}
    how = check_signature(canonical(unsigned), manifest["signature"], der)
    if how is None and known:
        raise CannotCheck("The signature: it needs Python's cryptography, or openssl 3 or later.")
    if how is None:
        return "NOTE: the signature was NOT CHECKED: here is neither cryptography nor openssl 3."
    if known:
        return f"Signed with the key {key_id_of(der)} that you gave (checked with {how})."
    return (
        f"NOTE: signed with the key {key_id_of(der)} (checked with {how}), WHICH CAME WITH THE FILE"
        " and so proves little: a forger brings a key along. Give one that you know: --public-key."
    )


def check_signature(message: bytes, signature: str, der: bytes) -> str | None:
    """With what it was checked; nothing when there is no means. Raises `Wrong` for a false one."""
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
        raise Wrong("the signature is false") from None
    return "cryptography"


def check_with_openssl(message: bytes, raw: bytes, der: bytes) -> str | None:
    """The same by another program, which reads from files."""
    with tempfile.TemporaryDirectory() as directory:
        paths = {name: Path(directory, name) for name in ("message", "signature", "key")}
        paths["message"].write_bytes(message)
        paths["signature"].write_bytes(raw)
        paths["key"].write_bytes(der)
        command = ["openssl", "pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-rawin"]
        command += ["-inkey", str(paths["key"]), "-sigfile", str(paths["signature"])]
        command += ["-in", str(paths["message"])]
        try:
            done = subprocess.run(command, capture_output=True, check=False)  # noqa: S603
        except OSError:
            return None
    said = done.stdout + done.stderr
    if done.returncode == 0 and b"Verified Successfully" in said:
        return "openssl"
    if b"Verification Failure" in said:
        raise Wrong("the signature is false")
    return None  # one that is too old


# --- the whole ----------------------------------------------------------------------------------


def verify(lines: Lines, records: Iterable[Record], kept: Kept) -> Walk:
    """Go through the file once. Raises `Wrong` at the first thing that is not as it should be."""
    walk: Walk | None = None
    for record in records:
        if walk is None:
            walk = Walk(record, kept)
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
    """What is proven, and what is not."""
    header = walk.header
    yield (
        f"Exported at {header['exported_at']} by {shown(header['exported_by'])},"
        f" environment {shown(header['environment'])}, software {shown(header['software'])}."
    )
    yield conclude_signature(walk.manifest, known)
    yield from walk.kept.conclude(header, walk.manifest)
    if header["whole"]:
        yield f"The whole log: events 1 to {walk.count}, none missing, none changed, all chained."
        if not walk.kept.heads and not walk.kept.checkpoints:
            yield (
                "NOTE: whoever can rewrite the whole log can make such a file. Compare it with a"
                " head that you kept (--head), or with kept checkpoints (--checkpoints)."
            )
    else:
        wanted = ", ".join(f"{name} {header['filter'][name]}" for name in sorted(header["filter"]))
        yield f"A filtered export: {shown(wanted)}; {walk.count} events, none changed."
        yield (
            "NOTE: continuity is NOT PROVEN. That no event is missing is here only the word of"
            " whoever signed; a whole export proves it."
        )
    if walk.backwards:
        yield f"NOTE: the clock went back {walk.backwards} times; the order is that of seq."
    yield f"Keep this head: {walk.head['hash']} (event {walk.head['seq']})."


def check(file: io.BufferedReader, kept: Kept, known: list[bytes]) -> None:
    """Check one export, and say what was found. Raises `Wrong` or `CannotCheck`."""
    lines = Lines(file)
    # A CSV export begins with a byte order mark, or with a quote where something took that away.
    is_csv = file.peek(4).startswith((b'\xef\xbb\xbf"', b'"'))
    records = records_of_csv(lines) if is_csv else records_of_json_lines(lines)
    try:
        for sentence in conclude(verify(lines, records, kept), known):
            print(sentence)
    except Wrong as wrong:
        raise Wrong(f"line {lines.number}: {wrong}") from None


def key_in(path: str) -> bytes:
    """The public key in a file."""
    der = der_of(Path(path).read_text(encoding="ascii", errors="replace"))
    if der is None:
        raise CannotCheck(f"{path} is not an Ed25519 public key in PEM.")
    return der


def run(asked: argparse.Namespace) -> None:
    """Read what was kept, then the export."""
    if not all(is_hash(head) for head in asked.head):
        raise CannotCheck("A head is 64 hexadecimal digits in lower case.")
    known = [key_in(path) for path in asked.public_key]
    kept = Kept(asked.head, checkpoints_in(asked.checkpoints, known))
    if asked.export == "-":
        check(sys.stdin.buffer, kept, known)  # type: ignore[arg-type]
        return
    with open(asked.export, "rb") as file:
        check(file, kept, known)


def main(arguments: list[str] | None = None) -> int:
    """Say what was found; the exit code."""
    parser = argparse.ArgumentParser(description="Check an export of the kill switch's audit log.")
    parser.add_argument("export", metavar="EXPORT", help="the file, or - for standard input")
    parser.add_argument(
        "--public-key",
        metavar="FILE",
        action="append",
        default=[],
        help="a key that it, and each checkpoint, may be signed with (PEM); all others may not",
    )
    parser.add_argument("--head", metavar="HASH", action="append", default=[], help="a kept head")
    parser.add_argument("--checkpoints", metavar="FILE", help="a kept checkpoints.jsonl")
    asked = parser.parse_args(arguments)
    try:
        run(asked)
        print("GOOD.")
    except Wrong as wrong:
        print(f"FALSE: {wrong}.")
        return 1
    except CannotCheck as error:
        print(f"COULD NOT CHECK. {error}")
        return 2
    except Exception as error:  # noqa: BLE001 (a fault of this program accuses nobody)
        print(f"COULD NOT CHECK. {type(error).__name__}: {shown(error)}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
