"""An export has exactly the selected events, can be verified, and is in the log itself."""

import base64
import csv
import hashlib
import io
import json
import re
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import pytest
import rfc8785
from django.conf import settings as django_settings
from django.db import connection, connections

from killswitch.audit import canonical_json, signing
from killswitch.audit.actors import Actor
from killswitch.audit.chain import NewEvent
from killswitch.audit.export import export
from killswitch.audit.export.formats import COLUMNS, ExportFormat
from killswitch.audit.models import AuditEvent, EventKind
from tests.audit.export.export_helpers import (
    CARL,
    FORMULA,
    OLGA,
    REQUEST,
    begin,
    exported,
    fill,
    nothing_can_be_written,
    rows,
    unescape,
)
from tests.audit.log import record

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]


@pytest.fixture
def unsigned(settings: Any) -> None:
    settings.AUDIT_SIGNING_KEY = ""
    settings.DATABASE_URL = "postgresql://somewhere"


@pytest.fixture(autouse=True)
def _a_key(settings: Any) -> None:
    settings.AUDIT_SIGNING_KEY = base64.b64encode(bytes(range(32))).decode()


def _columns(event: AuditEvent) -> dict[str, Any]:
    columns = {name: getattr(event, name) for name in COLUMNS}
    return columns | {"at": canonical_json.utc_text(event.at)}


class TestJsonLines:
    def test_every_event_is_there_with_every_column_and_the_exact_text_of_its_data(self) -> None:
        fill(6)
        whole = exported()
        expected = [_columns(event) for event in rows()[:-1]]
        assert whole.events == expected
        assert [event["seq"] for event in whole.events] == list(range(1, 20))
        assert r"\u0000" in "".join(event["data"] for event in whole.events)

    def test_each_line_is_canonical_json_to_a_library_that_knows_nothing_of_us(self) -> None:
        fill(6)
        for line in exported().lines:
            assert rfc8785.dumps(json.loads(line)) + b"\n" == line

    def test_the_hashes_are_those_of_the_published_rule(self) -> None:
        fill(2)
        previous = "0" * 64
        for event in exported().events:
            assert event["previous"] == previous
            hashed = {name: value for name, value in event.items() if name != "hash"}
            previous = hashlib.sha256(rfc8785.dumps(hashed)).hexdigest()
            assert event["hash"] == previous

    def test_times_are_utc_with_microseconds(self) -> None:
        fill(1)
        whole = exported()
        times = [event["at"] for event in whole.events] + [whole.header["exported_at"]]
        assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", at) for at in times)

    def test_the_header_says_who_when_what_and_where_the_log_stood(self) -> None:
        fill(1)
        header = exported(kind=EventKind.FINISHED).header
        head = rows()[-2]
        assert header == {
            "record": "header",
            "product": "killswitch",
            "format": 1,
            "software": django_settings.VERSION,
            "environment": "real",
            "exported_at": canonical_json.utc_text(head.at),
            "exported_by": CARL.name,
            "role": CARL.role,
            "whole": False,
            "filter": {"kind": "FINISHED"},
            "columns": list(COLUMNS),
            "head": {"seq": head.seq, "hash": head.hash},
        }

    def test_the_manifest_is_the_signed_truth_about_the_lines_before_it(self) -> None:
        fill(2)
        part = exported(exchange="kraken/john")
        manifest = part.manifest
        assert manifest["count"] == len(part.events) == 3
        assert (manifest["first_seq"], manifest["last_seq"]) == (4, 6)
        assert manifest["filter"] == part.header["filter"]
        assert manifest["head"] == part.header["head"]
        assert manifest["sha256"] == hashlib.sha256(b"".join(part.lines[:-1])).hexdigest()
        unsigned = {name: value for name, value in manifest.items() if name != "signature"}
        message = rfc8785.dumps(unsigned)
        assert manifest["public_key"] == signing.public_key_pem()
        assert signing.verify(message, manifest["signature"], manifest["public_key"])
        assert not signing.verify(message + b" ", manifest["signature"], manifest["public_key"])

    def test_without_a_key_it_is_not_signed_and_does_not_pretend_to_be(
        self, unsigned: None
    ) -> None:
        manifest = exported().manifest
        assert [manifest[name] for name in ("key_id", "public_key", "signature")] == [""] * 3

    def test_a_selection_without_events_is_an_empty_export(self) -> None:
        fill(1)
        empty = exported(exchange="NOWHERE")
        assert len(empty.lines) == 2
        assert empty.manifest["count"] == 0
        assert (empty.manifest["first_seq"], empty.manifest["last_seq"]) == (None, None)


class TestCsv:
    def _read(self, content: bytes) -> list[list[str]]:
        text = content.decode("utf-8-sig")
        return list(csv.reader(io.StringIO(text, newline=""), strict=True))

    def test_it_has_the_same_content_as_json_lines(self) -> None:
        fill(6)
        record(NewEvent(kind=EventKind.DENIED, actor=Actor(name="  'padded'\t"), status=" "))
        header, columns, *events, _manifest = self._read(exported(ExportFormat.CSV).content)
        expected = [[str(value) for value in _columns(event).values()] for event in rows()[:-1]]
        assert [[unescape(cell) for cell in row] for row in events] == expected
        assert columns == list(COLUMNS)
        assert header[0] == "# header"
        assert json.loads(header[1])["whole"] is True

    def test_no_cell_begins_like_a_formula(self) -> None:
        fill(6)
        record(
            NewEvent(kind=EventKind.DENIED, actor=Actor(name=FORMULA, role="+1"), exchange_id="@x")
        )
        table = self._read(exported(ExportFormat.CSV).content)
        cells = [cell for row in table for cell in row]
        assert f"'{FORMULA}" in cells
        assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]

    def test_its_manifest_holds_the_hash_of_its_own_bytes(self) -> None:
        fill(1)
        content = exported(ExportFormat.CSV).content
        lines = content.splitlines(keepends=True)
        mark, text = self._read(lines[-1])[0]
        assert mark == "# manifest"
        assert json.loads(text)["sha256"] == hashlib.sha256(b"".join(lines[:-1])).hexdigest()

    def test_a_spreadsheet_sees_at_once_that_it_is_utf_8(self) -> None:
        assert exported(ExportFormat.CSV).content.startswith(b"\xef\xbb\xbf")


class TestInTheLog:
    def test_an_export_is_in_the_log_before_its_first_byte_and_before_its_last_line(self) -> None:
        begun = begin(exchange="KRAKEN")
        (started,) = rows()
        assert (started.kind, started.actor, started.role) == ("EXPORTED", CARL.name, CARL.role)
        assert json.loads(started.data) == {
            "filter": {"exchange_contains": "KRAKEN"},
            "format": "jsonl",
            "address": "10.0.0.7",
        }
        manifest = json.loads(b"".join(begun.stream()).splitlines()[-1])
        completed = rows()[-1]
        assert completed.kind == "EXPORT_COMPLETED"
        assert manifest["completed"] == {"seq": completed.seq, "hash": completed.hash}
        data = json.loads(completed.data)
        assert data["export"] == started.seq
        assert data["sha256"] == manifest["sha256"]
        assert data["count"] == manifest["count"] == 0

    def test_it_is_refused_when_that_cannot_be_recorded(self) -> None:
        fill(1)
        with nothing_can_be_written(), pytest.raises(export.ExportNotRecorded):
            begin()
        assert len(rows()) == 3

    def test_it_has_no_manifest_when_its_end_cannot_be_recorded(self) -> None:
        fill(1)
        stream = begin().stream()
        chunks = [next(stream)]
        with nothing_can_be_written(), pytest.raises(export.ExportNotRecorded):
            chunks.extend(stream)
        assert len(b"".join(chunks).splitlines()) == 5
        assert b"manifest" not in b"".join(chunks)

    def test_what_is_appended_while_it_runs_is_not_in_it(self) -> None:
        fill(2)
        stream = begin().stream()
        chunks = [next(stream)]
        fill(2)
        chunks.extend(stream)
        events = [json.loads(line) for line in b"".join(chunks).splitlines()[1:-1]]
        assert [event["seq"] for event in events] == [1, 2, 3, 4, 5, 6, 7]
        assert events[-1]["kind"] == "EXPORTED"

    def test_the_names_of_exports_tell_them_apart(self) -> None:
        names = {begin(layout).file_name for layout in ExportFormat} | {begin().file_name}
        assert len(names) == 4
        assert all(
            re.fullmatch(r"killswitch-audit-\w+Z-\d\.(jsonl|(readable\.)?csv)", name)
            for name in names
        )


SELECTIONS: list[dict[str, Any]] = [
    {},
    {"kind": EventKind.FINISHED},
    {"status": "CONFIRMED"},
    {"request_id": f"{REQUEST[:-1]}3"},
    {"text": "漢字"},
    {"person": OLGA.name, "exchange": "KRAKEN"},
]


class TestReading:
    @pytest.mark.parametrize("selected", SELECTIONS, ids=str)
    @pytest.mark.parametrize("size", [1, 2, 3, 5])
    def test_no_row_is_lost_or_doubled_between_batches(
        self, set_batch_sizes: Callable[[int], None], selected: dict[str, Any], size: int
    ) -> None:
        fill(12)
        in_one = exported(**selected).events
        set_batch_sizes(size)
        again = exported(**selected).events
        assert in_one
        assert again[: len(in_one)] == in_one
        # The events of these two exports may themselves be what was selected.
        assert {event["kind"] for event in again[len(in_one) :]} <= {"EXPORTED", "EXPORT_COMPLETED"}

    def test_large_events_are_read_a_few_at_a_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(export, "LARGE_BATCH_CHARS", 200_000)
        large = [
            NewEvent(kind=EventKind.ATTEMPT, data={"body": {"text": f"{n}{'x' * 20_000}"}})
            for n in range(1_000)
        ]
        for start in range(0, 1000, 100):
            record(*large[start : start + 100])
        size = 0
        stream = begin().stream()
        tracemalloc.start()
        try:
            for chunk in stream:
                size += len(chunk)
            most = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert size > 20_000_000
        assert most < 15_000_000


@pytest.fixture
def another_connection(transactional_db: None) -> Iterator[Any]:
    """Return a second connection to the same database, like that of another process."""
    other = connections.create_connection("default")
    yield other
    other.close()


@pytest.mark.usefixtures("small_batches")
def test_no_transaction_is_open_while_a_chunk_is_sent(another_connection: Any) -> None:
    fill(4)
    stream = begin().stream()
    assert len(list(islice(stream, 2))) == 2  # the header, and a chunk from the middle
    with another_connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            pid = connection.connection.info.backend_pid
            cursor.execute("SELECT state FROM pg_stat_activity WHERE pid = %s", [pid])
            assert cursor.fetchone() == ("idle",)
            cursor.execute("SELECT count(*) FROM pg_cursors")
            assert cursor.fetchone() == (0,)
        else:
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            assert cursor.fetchone()[0] == 0  # no reader blocked it
    assert json.loads(b"".join(stream).splitlines()[-1])["count"] == 13
