"""The auditor's verifier accepts genuine exports and finds forged ones."""

import base64
import contextlib
import csv
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given
from hypothesis import settings as how
from hypothesis import strategies as st

from killswitch.audit import checkpoints, signing
from killswitch.audit.chain import NewEvent
from killswitch.audit.export.formats import COLUMNS, ExportFormat
from killswitch.audit.models import EventKind
from tests.audit import forging
from tests.audit.checkpoint_files import resigned, save
from tests.audit.export.export_helpers import OLGA, REQUEST, Exported, begin, exported, fill, rows
from tests.audit.export.forged_exports import Forgery, encoded, line, pem_of, rehashed
from tests.audit.forging import TABLE, forge
from tests.audit.log import record
from tools import verify_export

pytestmark = pytest.mark.django_db  # a forged file is the same whichever database it came from

TOOL = Path(verify_export.__file__)
OURS = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
ANOTHER = Ed25519PrivateKey.from_private_bytes(bytes(32))
Change = Callable[[Forgery], object]
Said = tuple[int, str]


@pytest.fixture(autouse=True)
def _a_key(settings: Any) -> None:
    settings.AUDIT_SIGNING_KEY = base64.b64encode(bytes(range(32))).decode()


@pytest.fixture
def whole() -> Exported:
    fill(4)
    return exported()


@pytest.fixture
def part() -> Exported:
    fill(4)
    return exported(exchange="KRAKEN/JOHN")


@pytest.fixture
def known(tmp_path: Path) -> str:
    """Return the file with the auditor's public key."""
    path = tmp_path / "known.pem"
    path.write_text(pem_of(OURS))
    return str(path)


@pytest.fixture
def verify(tmp_path: Path) -> Callable[..., Said]:
    """Run the verifier on these bytes; return its exit code and its output."""

    def run(content: bytes, *options: str) -> Said:
        path = tmp_path / "export"
        path.write_bytes(content)
        output = io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            code = verify_export.main([str(path), *options])
        return code, output.getvalue()

    return run


def assert_result(result: Said, code: int, *words: str) -> None:
    assert result[0] == code, result[1]
    for text in words:
        assert text in result[1]


def _in_memory(content: bytes) -> None:
    kept = verify_export.Kept([], {}, [])
    with contextlib.redirect_stdout(io.StringIO()):
        verify_export.check(io.BufferedReader(io.BytesIO(content)), kept, [])


@pytest.mark.both_databases
class TestHonest:
    @pytest.mark.parametrize("layout", [ExportFormat.JSONL, ExportFormat.CSV])
    def test_a_whole_export_is_good_and_the_limits_of_that_are_said(
        self, verify: Callable[..., Said], layout: ExportFormat
    ) -> None:
        fill(7)
        code, output = verify(exported(layout).content)
        assert code == 0, output
        assert "The whole log: events 1 to 22, no gaps, every hash and link correct." in output
        assert "WHICH CAME WITH THE FILE" in output
        assert "a person who can rewrite the whole log" in output
        assert output.endswith("PASSED: every check that you requested.\n")

    @pytest.mark.parametrize("layout", [ExportFormat.JSONL, ExportFormat.CSV])
    def test_with_a_known_key_and_a_kept_head_only_the_end_is_left_to_note(
        self, verify: Callable[..., Said], known: str, layout: ExportFormat
    ) -> None:
        fill(2)
        kept = rows()[2].hash
        code, output = verify(exported(layout).content, "--public-key", known, "--head", kept)
        assert code == 0, output
        assert f"The kept head {kept[:16]}... is event 3." in output
        assert "that you gave (checked with cryptography)" in output
        assert output.count("NOTE") == 1
        assert (
            "NOTE: events 4 to 7, at the end, are not covered by any head that you kept." in output
        )

    @pytest.mark.parametrize("layout", [ExportFormat.JSONL, ExportFormat.CSV])
    @pytest.mark.parametrize(
        "selected",
        [
            {"exchange": "kraken"},
            {"exchange": "=cmd|' /C calc'!A0"},
            {"person": "olga", "text": "漢字"},
            {"status": "NOT_CONFIRMED"},
            {"request_id": REQUEST},
            {"kind": EventKind.SIGNED_IN},
        ],
        ids=str,
    )
    def test_a_filtered_export_proves_its_lines_and_says_that_it_proves_no_more(
        self, verify: Callable[..., Said], layout: ExportFormat, selected: dict[str, Any]
    ) -> None:
        fill(6)
        code, output = verify(exported(layout, **selected).content)
        assert code == 0, output
        assert "A filtered export:" in output
        assert "continuity is NOT PROVEN" in output
        assert "The whole log" not in output

    @pytest.mark.parametrize("layout", [ExportFormat.JSONL, ExportFormat.CSV])
    def test_so_does_a_range_of_time(
        self, verify: Callable[..., Said], layout: ExportFormat
    ) -> None:
        fill(3)
        events = rows()
        selected = {"from_at": events[2].at, "to_at": events[5].at}
        assert_result(verify(exported(layout, **selected).content), 0, "; 3 events")

    def test_the_head_of_an_earlier_export_is_found_in_a_later_one(
        self, verify: Callable[..., Said], whole: Exported
    ) -> None:
        head = whole.header["head"]["hash"]
        fill(1)
        completed = whole.manifest["completed"]["hash"]
        assert verify(exported().content, "--head", head, "--head", completed)[0] == 0

    def test_a_clock_that_went_back_is_noted_and_no_fault(
        self, verify: Callable[..., Said], whole: Exported
    ) -> None:
        forged = Forgery.of(whole)
        forged.events[4]["at"] = "2020-01-01T00:00:00.000000Z"
        forged.rechain()
        assert_result(verify(forged.seal(OURS)), 0, "NOTE: the clock went back 1 times")

    def test_what_a_hostile_export_says_cannot_play_with_the_terminal(
        self, verify: Callable[..., Said], whole: Exported
    ) -> None:
        forged = Forgery.of(whole)
        forged.header["software"] = "\x1b[2J\u202e"
        code, output = verify(forged.seal(OURS))
        assert code == 0
        assert output.isascii()
        assert "\x1b" not in output


OTHER_VALUES = {
    "seq": 99,
    "at": "2026-01-01T00:00:00.000000Z",
    "format": 2,
    "previous": "f" * 64,
    "hash": "f" * 64,
}


class TestForged:
    @pytest.mark.parametrize("layout", [ExportFormat.JSONL, ExportFormat.CSV])
    @pytest.mark.parametrize("column", COLUMNS)
    def test_an_edit_of_any_field_is_found_although_the_manifest_was_made_anew(
        self, verify: Callable[..., Said], whole: Exported, layout: ExportFormat, column: str
    ) -> None:
        forged = Forgery.of(whole)
        forged.events[4][column] = OTHER_VALUES.get(column, "forged")
        write = forged.seal if layout is ExportFormat.JSONL else forged.as_csv
        code, output = verify(write(OURS))
        assert code == (2 if column == "format" else 1), output
        place = 6 if layout is ExportFormat.JSONL else 0
        assert re.search(f"line {place or r'[0-9]+'}: |Event 5 has format 2", output)

    @pytest.mark.parametrize("column", COLUMNS)
    def test_an_edit_that_fits_its_own_hash_breaks_the_chain(
        self, verify: Callable[..., Said], whole: Exported, column: str
    ) -> None:
        forged = Forgery.of(whole)
        event = forged.events[4]
        event[column] = OTHER_VALUES.get(column, "forged")
        event["hash"] = rehashed(event)
        code, output = verify(forged.seal(OURS))
        # Its own hash, made right again, is what it was.
        assert code == {"format": 2, "hash": 0}.get(column, 1), output

    @pytest.mark.parametrize(
        "change",
        [
            lambda events: events.pop(4),
            lambda events: events.pop(0),
            lambda events: events.pop(),
            lambda events: events.clear(),
            lambda events: events.insert(4, dict(events[4])),
            lambda events: events.insert(4, events[4] | {"seq": 5, "kind": "DENIED"}),
            lambda events: events.insert(3, events.pop(4)),
            lambda events: events.reverse(),
            lambda events: events.append(events[-1] | {"seq": len(events) + 1}),
        ],
        ids=["middle out", "first out", "tail cut", "wiped", "twice", "in", "swap", "turn", "more"],
    )
    @pytest.mark.parametrize("rehash", [False, True])
    @pytest.mark.parametrize("layout", [ExportFormat.JSONL, ExportFormat.CSV])
    def test_events_taken_out_put_in_or_moved_are_found(
        self,
        verify: Callable[..., Said],
        whole: Exported,
        change: Callable[[list[Any]], object],
        layout: ExportFormat,
        *,
        rehash: bool,
    ) -> None:
        forged = Forgery.of(whole)
        change(forged.events)
        for event in forged.events:
            event["hash"] = rehashed(event) if rehash else event["hash"]
        code, output = verify(
            forged.seal(OURS) if layout is ExportFormat.JSONL else forged.as_csv(OURS)
        )
        assert code == 1, output

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda it: it.manifest.update(count=1), "the manifest counts 1 events"),
            (lambda it: it.manifest.update(first_seq=2), "a different first or last"),
            (lambda it: it.manifest.update(last_seq=2), "a different first or last"),
            (lambda it: it.manifest.update(first_seq=None), "a different first or last"),
            (lambda it: it.manifest.update(sha256="0" * 64), "is not the one in the manifest"),
            (lambda it: it.manifest.update(filter={"kind": "DENIED"}), "differ: filter"),
            (lambda it: it.manifest.update(head=it.manifest["completed"]), "differ: head"),
            (
                lambda it: it.manifest.update(completed=it.header["head"]),
                "completed before it was started",
            ),
            (lambda it: it.manifest.update(completed={"seq": 99}), "not the number and the hash"),
            (lambda it: it.manifest.update(extra=1), "extra or missing keys: extra"),
            (lambda it: it.manifest.pop("key_id"), "extra or missing keys: key_id"),
            (lambda it: it.manifest.update(count=True), "count has the wrong type"),
            (lambda it: it.manifest.update(count="14"), "count has the wrong type"),
        ],
    )
    def test_a_manifest_that_does_not_fit_is_found_however_well_it_is_signed(
        self, verify: Callable[..., Said], whole: Exported, change: Change, words: str
    ) -> None:
        forged = Forgery.of(whole)
        change(forged)
        if "key_id" in forged.manifest:
            forged.sign(OURS)
        assert_result(verify(forged.written()), 1, words)

    @pytest.mark.parametrize("name", ["completed", "sha256", "count", "key_id", "signature"])
    def test_a_manifest_that_was_edited_is_found_by_its_signature(
        self, verify: Callable[..., Said], whole: Exported, name: str
    ) -> None:
        forged = Forgery.of(whole)
        others = {
            "completed": {"seq": 99, "hash": "0" * 64},
            "sha256": "0" * 64,
            "count": 3,
            "key_id": "0" * 16,
            "signature": base64.b64encode(bytes(64)).decode(),
        }
        forged.manifest[name] = others[name]
        assert verify(forged.written())[0] == 1

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda header: header.update(record="head"), "is not a header"),
            (
                lambda header: header.update(columns=header["columns"][:-1]),
                "does not name the columns",
            ),
            (lambda header: header.update(whole=False), "both that the export is whole"),
            (lambda header: header.update(whole=1), "whole has the wrong type"),
            (lambda header: header.update(filter={"kind": "DENIED"}), "both that the export"),
            (lambda header: header.update(filter={"kind": 1}, whole=False), "not text"),
            (lambda header: header.update(exported_at="today"), "exported_at is not a time"),
            (lambda header: header.update(exported_by="Mallory"), "not the one that records"),
            (lambda header: header.update(role="X"), "not the one that records"),
            (
                lambda header: header.update(exported_at="2020-01-01T00:00:00.000000Z"),
                "not the one that records",
            ),
            (lambda header: header["head"].update(seq=14), "the head is 14"),
            (
                lambda header: header["head"].update(hash="0" * 64),
                "is the head, but its hash is not",
            ),
            (lambda header: header["head"].update(hash="x"), "not the number and the hash"),
            (lambda header: header["head"].update(seq=True), "not the number and the hash"),
            (lambda header: header["head"].update(x=1), "not the number and the hash"),
            (lambda header: header.update(extra=1), "extra or missing keys: extra"),
            (lambda header: header.pop("environment"), "extra or missing keys: environment"),
        ],
    )
    def test_a_header_that_does_not_fit_is_found(
        self,
        verify: Callable[..., Said],
        whole: Exported,
        change: Callable[[Any], object],
        words: str,
    ) -> None:
        forged = Forgery.of(whole)
        change(forged.header)
        assert_result(verify(forged.seal(OURS)), 1, words)

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda event: event.update(extra=""), "extra or missing columns: extra"),
            (lambda event: event.pop("status"), "extra or missing columns: status"),
            (lambda event: event.update(seq="5"), "seq has the wrong type"),
            (lambda event: event.update(seq=True), "seq has the wrong type"),
            (lambda event: event.update(data={}), "data has the wrong type"),
            (lambda event: event.update(at="2026-11-22T08:00:00Z"), "at is not a time"),
            (lambda event: event.update(at="\uff12026-11-22T08:00:00.000000Z"), "at is not a time"),
        ],
    )
    def test_a_line_that_is_no_event_is_found(
        self,
        verify: Callable[..., Said],
        whole: Exported,
        change: Callable[[Any], object],
        words: str,
    ) -> None:
        forged = Forgery.of(whole)
        change(forged.events[4])
        forged.rechain()
        assert_result(verify(forged.seal(OURS)), 1, words)

    @pytest.mark.parametrize(
        ("wanted", "column"),
        [
            ({"kind": "DENIED"}, "kind"),
            ({"actor": "Mallory"}, "actor"),
            ({"status": "RESIDUAL"}, "status"),
            ({"reject_reason": "X"}, "reject_reason"),
            ({"request_id": "X"}, "request_id"),
            ({"exchange_id": "X"}, "exchange_id"),
            ({"exchange_contains": "X"}, "exchange_id"),
            ({"status_in": "RESIDUAL UNKNOWN"}, "status"),
            ({"kind_in": "DENIED"}, "kind"),
            ({"outcome": "NOT_CONFIRMED"}, "kind"),
            ({"from": "2100-01-01T00:00:00.000000Z"}, "at"),
            ({"to": "2020-01-01T00:00:00.000000Z"}, "at"),
        ],
    )
    def test_events_that_the_filter_does_not_select_are_found(
        self, verify: Callable[..., Said], part: Exported, wanted: dict[str, str], column: str
    ) -> None:
        forged = Forgery.of(part)
        forged.header["filter"] = wanted
        assert_result(verify(forged.seal(OURS)), 1, f"does not match the filter: {column}")

    @pytest.mark.parametrize("data", ['{"filter":{"kind":"DENIED"}}', "{}", "[]", "1", "", "{"])
    def test_a_whole_export_made_of_the_event_of_a_filtered_one_is_found(
        self, verify: Callable[..., Said], whole: Exported, data: str
    ) -> None:
        """An export could end at an earlier, filtered export, without the events after it."""
        forged = Forgery.of(whole)
        forged.events[-1]["data"] = data
        forged.rechain()
        assert_result(
            verify(forged.seal(OURS)), 1, "the last event is not the one that records this export"
        )

    def test_events_newer_than_the_head_are_found(
        self, verify: Callable[..., Said], whole: Exported
    ) -> None:
        forged = Forgery.of(whole)
        forged.header["head"] = {name: forged.events[-2][name] for name in ("seq", "hash")}
        assert_result(
            verify(forged.seal(OURS)), 1, "event 13 is newer than the export's head, event 12"
        )

    def test_a_filtered_export_shows_swaps_duplicates_and_edits(
        self, verify: Callable[..., Said], part: Exported
    ) -> None:
        changes: list[Callable[[list[Any]], object]] = [
            lambda events: events.insert(0, events.pop(1)),
            lambda events: events.insert(1, dict(events[0])),
            lambda events: events[1].update(role="forged"),
        ]
        for change in changes:
            forged = Forgery.of(part)
            change(forged.events)
            assert verify(forged.seal(OURS))[0] == 1

    def test_neighbours_in_a_filtered_export_are_still_chained(
        self, verify: Callable[..., Said], part: Exported
    ) -> None:
        forged = Forgery.of(part)
        first, second = forged.events[:2]
        assert second["seq"] == first["seq"] + 1
        first["role"] = "forged"
        first["hash"] = rehashed(first)
        assert_result(verify(forged.seal(OURS)), 1, "event 5 is not chained to event 4")

    def test_an_event_left_out_of_a_filtered_export_shows_only_by_its_signature(
        self, verify: Callable[..., Said], part: Exported, known: str
    ) -> None:
        forged = Forgery.of(part)
        del forged.events[-1]
        assert verify(forged.seal(ANOTHER))[0] == 0  # and says that continuity is not proven
        assert verify(forged.seal(ANOTHER), "--public-key", known)[0] == 1


class TestDamaged:
    @pytest.mark.parametrize("layout", [ExportFormat.JSONL, ExportFormat.CSV])
    def test_an_interrupted_export_is_recognised(
        self, verify: Callable[..., Said], layout: ExportFormat
    ) -> None:
        fill(3)
        stream = begin(layout).stream()
        assert_result(
            verify(next(stream) + next(stream)),
            1,
            "no manifest follows: the export was interrupted",
        )

    def test_the_last_line_of_an_export_that_failed_is_understood(
        self, verify: Callable[..., Said]
    ) -> None:
        fill(3)
        export = begin(ExportFormat.CSV)
        stream = export.stream()
        assert_result(
            verify(next(stream) + next(stream) + export.interrupted),
            1,
            "no manifest follows: the export was interrupted",
        )

    @pytest.mark.parametrize("layout", [ExportFormat.JSONL, ExportFormat.CSV])
    def test_a_file_cut_off_at_any_byte_is_never_good(self, layout: ExportFormat) -> None:
        fill(1)
        content = exported(layout).content
        for end in {*range(0, len(content), 37), len(content) - 1, len(content) - 2, 1, 2, 3}:
            with pytest.raises(verify_export.Wrong):
                _in_memory(content[:end])

    def test_changed_line_ends_are_called_by_their_name(
        self, verify: Callable[..., Said], whole: Exported
    ) -> None:
        assert_result(verify(whole.content.replace(b"\n", b"\r\n")), 1, "changed the line endings")
        assert verify(exported(ExportFormat.CSV).content.replace(b"\r\n", b"\n"))[0] == 1

    @pytest.mark.parametrize("layout", [ExportFormat.JSONL, ExportFormat.CSV])
    def test_two_exports_in_one_file_are_found(
        self, verify: Callable[..., Said], layout: ExportFormat
    ) -> None:
        fill(1)
        content = exported(layout).content
        code, output = verify(content + content)
        assert code == 1
        assert "more than one export" in output or "Could not" in output or "line" in output
        cut = content[: content.rstrip().rindex(b"\n") + 1]
        assert verify(cut + content)[0] == 1

    @pytest.mark.parametrize(
        ("old", "new", "words"),
        [
            (b'"kind":"ATTEMPT",', b'"kind":"ATTEMPT","kind":"ATTEMPT",', "key kind twice"),
            (b'"format":1,', b'"format":1.0,', "contains 1.0"),
            (b'"format":1,', b'"format":NaN,', "contains NaN"),
            (b'"format":1,', b'"format":1e0,', "contains 1e0"),
            (b'"format":1,', b'"format":' + b"9" * 5000 + b",", "too large"),
            (b'"format":1,', b'"format": 1,', "canonical form"),
            (b'"actor":"s', b'"actor":"\\u0073', "canonical form"),
            (b'"actor":"s', b'"actor":"\\ud800', "half a surrogate pair"),
            (b'"actor":"s', b'"actor":"\xff', "is not UTF-8"),
            (b'"actor":"s', b'"actor":"\x00', "is not JSON"),
            (b'"actor":', b'"actor":' + b"[" * 100_000, "is not JSON"),
            (b'{"actor"', b'"actor"', "is not JSON"),
        ],
        ids=lambda value: str(value)[:40],
    )
    def test_json_that_two_readers_could_read_differently_is_refused(
        self, verify: Callable[..., Said], whole: Exported, old: bytes, new: bytes, words: str
    ) -> None:
        lines = whole.lines
        assert old in lines[2]
        lines[2] = lines[2].replace(old, new, 1)
        assert_result(verify(b"".join(lines)), 1, words)

    @pytest.mark.parametrize("text", [b"", b"\n", b"[]\n", b"1\n", b"{}\n", b'"a"\n', b"\xff\n"])
    def test_what_is_no_export_at_all_is_refused(
        self, verify: Callable[..., Said], text: bytes
    ) -> None:
        assert verify(text)[0] == 1

    def test_a_huge_line_is_refused_before_it_fills_the_memory(
        self, monkeypatch: pytest.MonkeyPatch, whole: Exported, verify: Callable[..., Said]
    ) -> None:
        monkeypatch.setattr(verify_export, "MAX_LINE_BYTES", 10_000)
        lines = whole.lines
        lines.insert(3, b"x" * 20_000 + b"\n")
        assert_result(verify(b"".join(lines)), 1, "line 4: is longer than any line of an export")

    @pytest.mark.parametrize(
        ("old", "new", "words"),
        [
            (b'"seq","at"', b'"seq","when"', "does not name the columns"),
            (b'"# header"', b'"# heading"', "does not begin as an export does"),
            (b'\r\n"1","', b'\r\n"one","', "seq is not a number"),
            (b'\r\n"1","', b'\r\n"01","', "seq is not a number"),
            (b'\r\n"1","', b'\r\n"1","","', "has 15 cells"),
            (b'\r\n"1","', b'\r\n"1"x,"', "cannot be read as CSV"),
            (b'\r\n"# manifest"', b"\r\n# manifest", "not in the form that an export writes"),
        ],
    )
    def test_a_table_that_is_not_as_it_was_written_is_refused(
        self, verify: Callable[..., Said], old: bytes, new: bytes, words: str
    ) -> None:
        fill(1)
        content = exported(ExportFormat.CSV).content
        assert old in content
        assert_result(verify(content.replace(old, new, 1)), 1, words)

    @pytest.mark.parametrize("layout", [ExportFormat.JSONL, ExportFormat.CSV])
    @given(data=st.data())
    @how(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
    def test_no_change_of_any_byte_goes_unnoticed(
        self, layout: ExportFormat, data: st.DataObject
    ) -> None:
        content = _sample(layout)
        place = data.draw(st.integers(0, len(content) - 1))
        length = data.draw(st.sampled_from([0, 1, 2, 50]))
        new = data.draw(st.binary(max_size=3))
        changed = content[:place] + new + content[place + length :]
        if changed != content:
            with pytest.raises((verify_export.Wrong, verify_export.CannotCheck)):
                _in_memory(changed)


def long_event(text: str = "x" * 100_000) -> None:
    """Record an event whose data no cell of a spreadsheet can hold, between two short ones."""
    record(NewEvent(kind=EventKind.DENIED, actor=OLGA, data={"path": "/"}))
    record(NewEvent(kind=EventKind.DENIED, actor=OLGA, data={"path": text}))
    record(NewEvent(kind=EventKind.DENIED, actor=OLGA, data={"path": "/"}))


@pytest.mark.both_databases
class TestCut:
    """Texts that are too long for a spreadsheet are whole in JSON Lines only."""

    @pytest.mark.parametrize("text", ["x" * 100_000, "🛑" * 20_000, ";=" * 12_000, '"' * 20_000])
    def test_all_else_of_the_table_is_checked_and_the_cut_text_never_passes(
        self, verify: Callable[..., Said], text: str, known: str
    ) -> None:
        long_event(text)
        content = exported(ExportFormat.CSV).content
        code, output = verify(content, "--public-key", known)
        assert code == 2, output
        assert "no gaps, every link and every hash but 1 correct." in output
        assert "Signed with the key" in output
        assert "the first of which is event 2, were cut for spreadsheets" in output
        assert "PASSED" not in output
        assert_result(verify(exported().content, "--public-key", known), 0, "PASSED")
        table = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        assert all(len(cell.encode("utf-16-le")) // 2 < 32_000 for row in table for cell in row)

    def test_a_short_table_passes_as_before(self, verify: Callable[..., Said]) -> None:
        fill(1)
        assert_result(verify(exported(ExportFormat.CSV).content), 0, "every hash and link correct")

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            (b"JSONL export)", b"JSONL export!"),  # the mark
            (b"xxxx", b"xxxy"),  # a cut text, which the SHA-256 of the file covers
            (b'{""path"":""/""}', b'{""path"":""-""}'),
            (b'"Olga Ray', b'"Olgb Ray'),
        ],
    )
    def test_a_changed_table_fails_all_the_same(
        self, verify: Callable[..., Said], old: bytes, new: bytes
    ) -> None:
        long_event()
        content = exported(ExportFormat.CSV).content
        assert old in content
        assert verify(content.replace(old, new, 1))[0] == 1

    @pytest.mark.parametrize("layout", [ExportFormat.JSONL, ExportFormat.CSV])
    def test_a_mark_excuses_no_change_where_nothing_is_cut(
        self, verify: Callable[..., Said], whole: Exported, layout: ExportFormat
    ) -> None:
        """In JSON Lines and in tables of format 1, which older versions wrote."""
        forgery = Forgery.of(whole)
        mark = "… (cut; 9 characters; the whole text is in the JSONL export)"
        forgery.events[1]["data"] = mark
        content = forgery.seal(OURS) if layout is ExportFormat.JSONL else forgery.as_csv(OURS)
        assert_result(verify(content), 1, "its hash does not match its columns")

    def test_a_text_that_only_looks_cut_is_checked_like_any_other(
        self, verify: Callable[..., Said]
    ) -> None:
        mark = "… (cut; 9 characters; the whole text is in the JSONL export)"
        record(NewEvent(kind=EventKind.DENIED, actor=OLGA, exchange_id=mark))
        assert_result(verify(exported(ExportFormat.CSV).content), 0, "every hash and link correct")


_samples: dict[ExportFormat, bytes] = {}


def _sample(layout: ExportFormat) -> bytes:
    if layout not in _samples:
        fill(2)
        _samples[layout] = exported(layout).content
    return _samples[layout]


class TestRewritten:
    """A whole chain recomputed after an edit: only copies kept elsewhere can show it."""

    @pytest.fixture
    def rewritten(self, whole: Exported) -> Forgery:
        forged = Forgery.of(whole)
        forged.events[4]["data"] = '{"message":"all is well"}'
        forged.rechain()
        return forged

    def test_alone_it_looks_good_and_the_verifier_says_how_little_that_is(
        self, verify: Callable[..., Said], rewritten: Forgery
    ) -> None:
        assert_result(
            verify(rewritten.seal(ANOTHER)),
            0,
            "WHICH CAME WITH THE FILE",
            "a person who can rewrite the whole log can make such a file",
        )

    def test_a_key_known_from_elsewhere_finds_a_forger_who_does_not_have_it(
        self, verify: Callable[..., Said], rewritten: Forgery, known: str
    ) -> None:
        assert_result(
            verify(rewritten.seal(ANOTHER), "--public-key", known),
            1,
            "but you gave",
        )

    @pytest.mark.parametrize("layout", [ExportFormat.JSONL, ExportFormat.CSV])
    def test_a_kept_head_finds_even_one_who_has_the_key(
        self, verify: Callable[..., Said], whole: Exported, rewritten: Forgery, layout: ExportFormat
    ) -> None:
        content = rewritten.seal(OURS) if layout is ExportFormat.JSONL else rewritten.as_csv(OURS)
        assert_result(
            verify(content, "--head", whole.events[7]["hash"]), 1, "is not in this export"
        )
        # What was kept before the place of the edit cannot tell.
        assert verify(content, "--head", whole.events[3]["hash"])[0] == 0

    def test_so_do_kept_checkpoints(
        self, verify: Callable[..., Said], whole: Exported, rewritten: Forgery, tmp_path: Path
    ) -> None:
        kept = _kept(tmp_path, whole.events[3], whole.events[7])
        assert verify(whole.content, "--checkpoints", kept)[0] == 0
        assert_result(
            verify(rewritten.seal(OURS), "--checkpoints", kept),
            1,
            "event 8 is not the one that the checkpoint of",
        )

    def test_a_log_whose_end_was_cut_off_and_made_anew_is_found_by_both(
        self, verify: Callable[..., Said], whole: Exported, tmp_path: Path
    ) -> None:
        cut = Forgery.of(whole)
        del cut.events[8:12]
        cut.renumber()
        content = cut.seal(OURS)
        kept = _kept(tmp_path, whole.events[10])
        assert verify(content)[0] == 0
        assert verify(content, "--head", whole.events[10]["hash"])[0] == 1
        assert_result(verify(content, "--checkpoints", kept), 1, "the end of the log was cut off")

    def test_checkpoints_newer_than_the_export_are_counted_and_no_fault(
        self, verify: Callable[..., Said], whole: Exported, tmp_path: Path
    ) -> None:
        fill(1)
        newest = {"seq": rows()[-1].seq, "hash": rows()[-1].hash}
        kept = _kept(tmp_path, newest | {"at": "2100-01-01T00:00:00.000000Z"}, whole.events[1])
        assert_result(
            verify(whole.content, "--checkpoints", kept),
            0,
            "1 checkpoints are in this export.",
            "NOTE: 1 checkpoints are newer than this export; they prove nothing about it.",
        )

    def test_checkpoints_that_are_all_newer_have_checked_nothing(
        self, verify: Callable[..., Said], whole: Exported, tmp_path: Path
    ) -> None:
        """A person with the key could cut off the log and backdate an export."""
        newer = {"seq": 99, "hash": "0" * 64, "at": "2100-01-01T00:00:00.000000Z"}
        assert_result(
            verify(whole.content, "--checkpoints", _kept(tmp_path, newer)),
            2,
            "All 1 checkpoints are newer than this export",
        )

    def test_an_export_completed_by_another_event_than_a_checkpoint_kept_is_found(
        self, verify: Callable[..., Said], whole: Exported, tmp_path: Path
    ) -> None:
        completed = whole.manifest["completed"] | {"at": "2100-01-01T00:00:00.000000Z"}
        kept = _kept(tmp_path, whole.events[1], completed)
        assert verify(whole.content, "--checkpoints", kept)[0] == 0
        kept = _kept(tmp_path, whole.events[1], completed | {"hash": "0" * 64})
        assert_result(
            verify(whole.content, "--checkpoints", kept),
            1,
            "event 14, which completed this export, is not the one that",
        )

    def test_the_time_that_counts_is_the_first_at_which_an_event_was_kept(
        self, verify: Callable[..., Said], whole: Exported, tmp_path: Path
    ) -> None:
        late = {"seq": 99, "hash": "0" * 64, "at": "2100-01-01T00:00:00.000000Z"}
        kept = _kept(tmp_path, whole.events[1], late, late | {"at": "2020-01-01T00:00:00.000000Z"})
        assert_result(
            verify(whole.content, "--checkpoints", kept), 1, "the end of the log was cut off"
        )


def _kept(directory: Path, *events: dict[str, Any]) -> str:
    path = directory / "checkpoints.jsonl"
    path.write_bytes(b"".join(line({n: e[n] for n in ("seq", "hash", "at")}) for e in events))
    return str(path)


class TestKept:
    @pytest.mark.both_databases
    def test_the_checkpoints_of_the_product_are_understood(
        self, verify: Callable[..., Said], tmp_path: Path, settings: Any
    ) -> None:
        settings.KILLSWITCH_HOME = tmp_path
        for _ in range(3):
            fill(1)
            checkpoints.write("test")
        path = str(checkpoints.default_path())
        assert_result(
            verify(exported().content, "--checkpoints", path),
            0,
            "3 checkpoints are in this export.",
        )

    def test_with_a_known_key_checkpoints_must_be_signed_with_it(
        self, verify: Callable[..., Said], five: list[bytes], file: Path, settings: Any
    ) -> None:
        """The log was rewritten, and the forger adds matching checkpoints."""
        known, foreign = (str(file.parent / name) for name in ("known.pem", "foreign.pem"))
        Path(known).write_text(signing.public_key_pem())
        Path(foreign).write_text(pem_of(ANOTHER))
        content = exported().content
        given = ("--public-key", known, "--checkpoints", str(file))
        assert verify(content, *given)[0] == 0
        assert verify(content, *given)[1].count("NOTE") == 1
        assert (
            "NOTE: event 11, at the end, is not covered by any head" in verify(content, *given)[1]
        )
        assert "not checked: no key" in verify(content, "--checkpoints", str(file))[1]
        unsigned = replace(checkpoints.parse(five[4]), signature="", key_id="").line.encode()
        changed = replace(checkpoints.parse(five[2]), at="2020-01-01T00:00:00.000000Z")
        for lines, words in (
            ([*five[:4], unsigned], "line 5"),
            ([*five[:4], resigned(five[4], ANOTHER)], "not signed with a key that you gave"),
            ([*five[:2], changed.line.encode(), *five[3:]], "line 3"),
            ([changed.line.encode()], "the signature is invalid"),
            ([five[0], five[0]], ""),
            ([five[3], five[1]], ""),
        ):
            save(file, *lines)
            code, output = verify(content, *given)
            assert code == bool(words), output
            assert words in output
        save(file, *five[:4], resigned(five[4], ANOTHER))
        assert verify(content, *given, "--public-key", foreign)[0] == 0

    def test_a_line_without_end_among_the_checkpoints_is_none(
        self, verify: Callable[..., Said], whole: Exported, tmp_path: Path
    ) -> None:
        kept = _kept(tmp_path, whole.events[1])
        with open(kept, "ab") as file:
            file.write(b"[" * (3 * verify_export.MAX_CHECKPOINT_BYTES))
        assert_result(verify(whole.content, "--checkpoints", kept), 0, "NOTE: 3 lines of")

    def test_half_a_line_that_a_crash_left_is_noted(
        self, verify: Callable[..., Said], whole: Exported, tmp_path: Path
    ) -> None:
        kept = _kept(tmp_path, whole.events[1])
        with open(kept, "ab") as file:
            file.write(b'{"seq":3,"ha\n{"seq":3,"hash":1,"at":2}\n{"seq":true}\n[]\n\xff\n')
        assert_result(verify(whole.content, "--checkpoints", kept), 0, "NOTE: 5 lines of")

    def test_checkpoints_that_contradict_each_other_show_a_rewritten_log(
        self, verify: Callable[..., Said], whole: Exported, tmp_path: Path
    ) -> None:
        event = whole.events[1]
        kept = _kept(tmp_path, event, event | {"hash": "0" * 64})
        assert_result(
            verify(whole.content, "--checkpoints", kept), 1, "event 2 is not the one", "rewritten"
        )
        newer = {"seq": 99, "hash": "0" * 64, "at": "2100-01-01T00:00:00.000000Z"}
        kept = _kept(tmp_path, event, newer, newer | {"hash": "1" * 64})
        assert_result(verify(whole.content, "--checkpoints", kept), 1, "rewritten between the two")

    @pytest.mark.parametrize("option", ["--head", "--checkpoints"])
    def test_a_filtered_export_cannot_be_compared(
        self, verify: Callable[..., Said], part: Exported, tmp_path: Path, option: str
    ) -> None:
        event = part.events[0]
        given = event["hash"] if option == "--head" else _kept(tmp_path, event)
        assert_result(verify(part.content, option, given), 2, "only a whole one can be compared")

    def test_what_cannot_be_read_leaves_the_question_open(
        self, verify: Callable[..., Said], whole: Exported, tmp_path: Path
    ) -> None:
        empty = tmp_path / "empty"
        empty.touch()
        for options in (
            ["--head", "abc"],
            ["--head", "A" * 64],
            ["--checkpoints", str(empty)],
            ["--checkpoints", str(tmp_path / "missing")],
            ["--public-key", str(empty)],
            ["--public-key", str(tmp_path / "missing")],
        ):
            code, output = verify(whole.content, *options)
            assert code == 2, options
            assert output.startswith("COULD NOT CHECK")
        assert verify_export.main([str(tmp_path / "missing")]) == 2

    @pytest.mark.parametrize("record", [0, -1])
    def test_a_format_of_the_future_is_not_called_a_forgery(
        self, verify: Callable[..., Said], whole: Exported, record: int
    ) -> None:
        lines = whole.lines
        lines[record] = encoded(json.loads(lines[record]) | {"format": 2}) + b"\n"
        assert_result(verify(b"".join(lines)), 2, "export format 2")


def _edit() -> None:
    forge(f"UPDATE {TABLE} SET actor = 'x' WHERE seq = 4")


def _edit_and_rehash() -> None:
    forged = forging.rehash(forging.row(4) | {"actor": "x"})
    forge(f"UPDATE {TABLE} SET actor = 'x', hash = %s WHERE seq = 4", [forged["hash"]])


def _delete() -> None:
    forge(f"DELETE FROM {TABLE} WHERE seq = 5")


def _swap() -> None:
    for before, after in ((4, 4000), (5, 4), (4000, 5)):
        forge(f"UPDATE {TABLE} SET seq = %s WHERE seq = %s", [after, before])


def _insert() -> None:
    for seq in range(len(rows()), 4, -1):
        forge(f"UPDATE {TABLE} SET seq = %s WHERE seq = %s", [seq + 1, seq])
    event = forging.row(4)
    forging.insert(forging.rehash(event | {"seq": 5, "previous": event["hash"], "actor": "x"}))


def _make_anew() -> None:
    _edit()
    forging.recompute_from(4)


def _cut() -> None:
    forge(f"DELETE FROM {TABLE} WHERE seq > 8")


def _wipe() -> None:
    forge(f"DELETE FROM {TABLE}")


@pytest.mark.both_databases
class TestForgedDatabase:
    """The database was forged without its triggers and then exported."""

    @pytest.mark.parametrize("forgery", [_edit, _edit_and_rehash, _delete, _swap, _insert])
    @pytest.mark.parametrize("layout", [ExportFormat.JSONL, ExportFormat.CSV])
    def test_what_breaks_the_chain_is_found_in_the_export(
        self,
        verify: Callable[..., Said],
        known: str,
        forgery: Callable[[], None],
        layout: ExportFormat,
    ) -> None:
        fill(4)
        forgery()
        code, output = verify(exported(layout).content, "--public-key", known)
        assert code == 1, output

    @pytest.mark.parametrize("forgery", [_make_anew, _cut, _wipe])
    def test_what_does_not_is_found_by_what_was_kept(
        self,
        verify: Callable[..., Said],
        forgery: Callable[[], None],
        five: list[bytes],
        file: Path,
    ) -> None:
        kept = rows()[-1].hash
        forgery()
        content = exported().content
        assert verify(content)[0] == 0
        assert verify(content, "--head", kept)[0] == 1
        assert verify(content, "--checkpoints", str(file))[0] == 1


class TestSignature:
    def test_an_unsigned_export_is_said_to_be_that(
        self, verify: Callable[..., Said], known: str, settings: Any
    ) -> None:
        settings.AUDIT_SIGNING_KEY = ""
        settings.DATABASE_URL = "postgresql://somewhere"
        content = exported().content
        assert_result(verify(content), 0, "NOT SIGNED")
        assert verify(content, "--public-key", known)[0] == 1

    @pytest.mark.parametrize("name", ["public_key", "key_id"])
    def test_a_key_that_is_none_or_has_another_name_is_found(
        self, verify: Callable[..., Said], whole: Exported, name: str
    ) -> None:
        for wrong in ("", "x", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"):
            forged = Forgery.of(whole)
            forged.manifest[name] = wrong
            assert_result(verify(forged.written()), 1, "public key is invalid, or key_id is not")

    @pytest.mark.parametrize("signature", ["x", "AAAA=AAA", "é"])
    def test_a_signature_that_is_none_is_found(
        self, verify: Callable[..., Said], whole: Exported, signature: str
    ) -> None:
        forged = Forgery.of(whole)
        forged.manifest["signature"] = signature
        assert_result(verify(forged.written()), 1, "not base64")

    def test_a_signature_of_something_else_is_false(
        self, verify: Callable[..., Said], whole: Exported, known: str
    ) -> None:
        forged = Forgery.of(whole)
        forged.manifest["signature"] = base64.b64encode(OURS.sign(b"something else")).decode()
        for options in ([], ["--public-key", known]):
            assert_result(verify(forged.written(), *options), 1, "the signature is invalid")


class TestAlone:
    """As an auditor runs it: one file, a bare Python, no package, no project."""

    def _run(self, content: bytes, *options: str, path: str = os.defpath) -> Said:
        command = [sys.executable, "-I", "-S", str(TOOL), "-", *options]
        done = subprocess.run(
            command, input=content, capture_output=True, check=False, env={"PATH": path}, cwd="/"
        )
        return done.returncode, (done.stdout + done.stderr).decode()

    def test_openssl_checks_the_signature_where_no_package_does(
        self, whole: Exported, known: str
    ) -> None:
        assert_result(self._run(whole.content, "--public-key", known), 0, "checked with openssl")
        forged = Forgery.of(whole)
        forged.manifest["signature"] = base64.b64encode(OURS.sign(b"something else")).decode()
        assert_result(
            self._run(forged.written(), "--public-key", known), 1, "the signature is invalid"
        )

    def test_where_nothing_can_check_it_that_is_said_and_not_called_good(
        self, whole: Exported, known: str, tmp_path: Path
    ) -> None:
        assert_result(
            self._run(whole.content, path=str(tmp_path)), 0, "the signature was NOT CHECKED"
        )
        code, output = self._run(whole.content, "--public-key", known, path=str(tmp_path))
        assert code == 2
        assert "GOOD" not in output

    def test_an_openssl_that_is_too_old_has_checked_nothing(
        self, whole: Exported, known: str, tmp_path: Path
    ) -> None:
        old = tmp_path / "openssl"
        old.write_text("#!/bin/sh\necho 'pkeyutl: Unrecognized flag rawin' >&2; exit 1\n")
        old.chmod(0o755)
        assert self._run(whole.content, "--public-key", known, path=str(tmp_path))[0] == 2

    def test_a_table_is_checked_the_same_way(self, known: str) -> None:
        fill(6)
        assert_result(
            self._run(exported(ExportFormat.CSV).content, "--public-key", known),
            0,
            "The whole log: events 1 to 19",
        )

    def test_it_imports_the_standard_library_only(self) -> None:
        imported = set(re.findall(r"^ *(?:from|import) (\w+)", TOOL.read_text(), re.MULTILINE))
        assert imported - {"cryptography"} <= sys.stdlib_module_names
