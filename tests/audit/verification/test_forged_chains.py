"""Chains that were forged without the triggers are found."""

from collections.abc import Callable
from datetime import timedelta
from itertools import product
from typing import Any

import pytest
from django.db import connection

from killswitch.audit import chain
from killswitch.audit.models import AuditEvent
from killswitch.audit.verification import chain_walk
from killswitch.audit.verification.findings import Proof
from killswitch.audit.verification.verify import verify
from tests.audit import forging
from tests.audit.assertions import Requests, assert_broken, assert_found, assert_good, only
from tests.audit.forging import TABLE, forge, recompute_from

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db]


EDITS: dict[str, Any] = {
    "software": "9.9.9",
    "format": 2,
    "kind": "DENIED",
    "actor": "Mallory",
    "role": "ADMINISTRATOR",
    "exchange_id": "ELSEWHERE",
    "request_id": "00000000-0000-0000-0000-000000000000",
    "status": "CONFIRMED",
    "reject_reason": "OTHER",
    "data": '{"edited":true}',
    "previous": "f" * 64,
    "hash": "e" * 64,
}


@pytest.mark.parametrize("column", EDITS)
def test_an_edit_of_any_field_is_found(requests: Requests, column: str) -> None:
    assert EDITS[column] != forging.row(4)[column]
    forge(f"UPDATE {TABLE} SET {column} = %s WHERE seq = 4", [EDITS[column]])
    assert_broken(verify(), 4, "changed")


def test_the_edits_cover_every_column() -> None:
    assert set(EDITS) | {"seq", "at"} == set(chain_walk.COLUMNS)
    assert set(chain_walk.COLUMNS) == {field.column for field in AuditEvent._meta.concrete_fields}


def test_an_edit_of_the_time_by_a_microsecond_is_found(requests: Requests) -> None:
    at = AuditEvent.objects.get(seq=4).at + timedelta(microseconds=1)
    with forging.guards_off():
        AuditEvent.objects.filter(seq=4).update(at=at)
    assert_broken(verify(), 4, "changed")


def test_an_event_moved_before_christ_is_found(requests: Requests) -> None:
    if connection.vendor != "postgresql":
        return  # SQLite stores times as text
    forge(f"UPDATE {TABLE} SET at = (at::text || ' BC')::timestamptz WHERE seq = 3")
    assert_found(verify(), Proof.CHAIN, "event 3 was changed")


def test_an_edit_of_the_number_is_found(requests: Requests) -> None:
    forge(f"UPDATE {TABLE} SET seq = 4000 WHERE seq = 4")
    assert_broken(verify(), 4, "missing", "5")


def test_an_edit_of_the_newest_event_is_found(requests: Requests) -> None:
    newest = chain.head().seq
    forge(f"UPDATE {TABLE} SET actor = 'x' WHERE seq = %s", [newest])
    assert_broken(verify(), newest, "changed")


def test_a_field_moved_into_its_neighbour_is_found(requests: Requests) -> None:
    """Columns are hashed with their names, not concatenated."""
    forge(f"UPDATE {TABLE} SET actor = '', role = 'system' WHERE seq = 1")
    assert_broken(verify(), 1, "changed")


def test_a_deleted_event_is_found(requests: Requests) -> None:
    forge(f"DELETE FROM {TABLE} WHERE seq = 5")
    assert_broken(verify(), 5, "event 5 is missing", "6")


def test_a_deleted_first_event_is_found(requests: Requests) -> None:
    forge(f"DELETE FROM {TABLE} WHERE seq = 1")
    assert_broken(verify(), 1, "missing")


def test_events_deleted_and_the_rest_renumbered_are_found(requests: Requests) -> None:
    forge(f"DELETE FROM {TABLE} WHERE seq = 5")
    for seq in range(6, chain.head().seq + 1):
        forge(f"UPDATE {TABLE} SET seq = %s WHERE seq = %s", [seq - 1, seq])
    assert_broken(verify(), 5, "changed")


def test_a_cut_tail_is_found_by_the_checkpoint(requests: Requests) -> None:
    newest = chain.head().seq
    forge(f"DELETE FROM {TABLE} WHERE seq = %s", [newest])
    result = verify()
    assert only(result) is Proof.CHECKPOINT
    assert result.first_bad_seq == newest
    assert "end of the log was cut off" in result.reason


def test_a_wiped_log_is_found(requests: Requests) -> None:
    forge(f"DELETE FROM {TABLE}")
    result = verify()
    assert_found(result, Proof.CHECKPOINT, "missing")
    assert_found(result, Proof.TABLES, "no event says")


def test_an_inserted_event_is_found(requests: Requests) -> None:
    newest = chain.head().seq
    for seq in range(newest, 4, -1):
        forge(f"UPDATE {TABLE} SET seq = %s WHERE seq = %s", [seq + 1, seq])
    inserted = forging.row(4) | {"seq": 5, "previous": forging.row(4)["hash"], "actor": "x"}
    forging.insert(forging.rehash(inserted))
    assert_broken(verify(), 6, "changed")


def test_an_event_inserted_with_all_links_repaired_is_found_by_the_checkpoint(
    requests: Requests,
) -> None:
    newest = chain.head().seq
    for seq in range(newest, 4, -1):
        forge(f"UPDATE {TABLE} SET seq = %s WHERE seq = %s", [seq + 1, seq])
    inserted = forging.row(1) | {"seq": 5, "actor": "x", "hash": "0" * 64}
    forging.insert(inserted)
    forge(f"UPDATE {TABLE} SET previous = %s WHERE seq = 5", [forging.row(4)["hash"]])
    recompute_from(5)
    result = verify()
    assert only(result) is Proof.CHECKPOINT
    assert "rewritten" in result.reason


def test_two_swapped_events_are_found(requests: Requests) -> None:
    for before, after in ((4, -4), (5, 4), (-4, 5)):
        with forging.constraints_off():
            forge(f"UPDATE {TABLE} SET seq = %s WHERE seq = %s", [after, before])
    assert_broken(verify(), 4, "changed")


def test_two_events_with_swapped_contents_are_found(requests: Requests) -> None:
    first, second = forging.row(6), forging.row(7)
    assert first["kind"] != second["kind"]
    for seq, event in ((6, second), (7, first)):
        forge(
            f"UPDATE {TABLE} SET kind = %s, actor = %s, data = %s WHERE seq = %s",
            [event["kind"], event["actor"], event["data"], seq],
        )
    assert_broken(verify(), 6, "changed")


def test_a_fork_is_found(requests: Requests) -> None:
    """A second event with the same number and the same past, as after two writers at once."""
    newest = chain.head().seq
    twin = forging.rehash(forging.row(newest) | {"actor": "twin"})
    with forging.constraints_off():
        forging.insert(twin)
        assert_broken(verify(), newest + 1, str(newest))


def test_a_fork_at_the_edge_of_a_page_is_found(
    requests: Requests, set_batch_sizes: Callable[[int], None]
) -> None:
    set_batch_sizes(1)
    twin = forging.rehash(forging.row(4) | {"actor": "twin"})
    with forging.constraints_off():
        forging.insert(twin)
        finding = chain_walk.walk().finding
    assert finding is not None
    assert finding.proof is Proof.CHAIN


def test_a_fork_that_is_continued_on_one_side_is_found(requests: Requests) -> None:
    """An event replaced by another that fits the past; the next one still names the old one."""
    replaced = forging.rehash(forging.row(4) | {"actor": "twin"})
    forge(
        f"UPDATE {TABLE} SET actor = %s, hash = %s WHERE seq = 4",
        [replaced["actor"], replaced["hash"]],
    )
    assert_broken(verify(), 5, "is not chained to")


def test_a_chain_recomputed_after_an_edit_is_found_by_the_checkpoint(requests: Requests) -> None:
    forge(f"UPDATE {TABLE} SET actor = 'Mallory' WHERE seq = 1")
    recompute_from(1)
    result = verify()
    assert only(result) is Proof.CHECKPOINT
    assert result.first_bad_seq == chain.head().seq
    assert "rewritten" in result.reason


def test_a_number_below_one_is_found(requests: Requests) -> None:
    with forging.constraints_off():
        forging.insert(forging.rehash(forging.row(4) | {"seq": 0, "actor": "x"}))
        assert_broken(verify(), 1, "number 0")


def test_a_value_that_we_never_write_is_a_finding_and_not_an_error(
    requests: Requests,
) -> None:
    foreign: list[tuple[str, str, list[Any]]]
    if connection.vendor == "sqlite":
        foreign = [
            ("at", "%s", ["not a time"]),
            ("at", "%s", ["2026-11-22T08:00:00"]),
            ("at", "%s", [17]),
            ("at", "replace(at, ' ', %s)", ["T"]),
            ("at", "at || %s", ["+00:00"]),
            ("data", "%s", [b"\xff\xfe"]),
            ("actor", "CAST(%s AS TEXT)", [b"\xff\xfe"]),
            ("hash", "CAST(%s AS TEXT)", [b"\xff\xfe"]),
            ("format", "%s", ["one"]),
        ]
    else:
        foreign = [
            ("at", "%s", ["infinity"]),
            ("at", "%s", ["294276-01-01 00:00:00+00"]),
            ("at", "%s", ["4000-01-01 00:00:00+00 BC"]),
        ]
    for column, mark, parameters in foreign:
        before = forging.row(4)[column]
        forge(f"UPDATE {TABLE} SET {column} = {mark} WHERE seq = 4", parameters)
        assert_broken(verify(), 4, "changed")
        forge(f"UPDATE {TABLE} SET {column} = %s WHERE seq = 4", [before])
    assert_good(verify())


@pytest.mark.parametrize("column", [name for name in chain_walk.COLUMNS if name != "seq"])
def test_a_column_stored_as_another_type_is_found(requests: Requests, column: str) -> None:
    """The bytes are the same, and no filter of SQLite finds them any more."""
    if connection.vendor == "sqlite":  # PostgreSQL keeps in a column what its type allows
        other = "CAST(1 AS REAL)" if column == "format" else f"CAST({column} AS BLOB)"
        with forging.declared_without_types():
            forge(f"UPDATE {TABLE} SET {column} = {other} WHERE seq = 4")
            assert_broken(verify(with_tables=False), 4, "changed", column, "is stored as")


def test_a_number_stored_as_another_type_is_found(requests: Requests) -> None:
    if connection.vendor == "sqlite":
        with forging.declared_without_types():
            forge(f"UPDATE {TABLE} SET seq = CAST(seq AS REAL) WHERE seq = 4")
            assert_broken(verify(with_tables=False), 4, "changed", "seq is stored as real")


@pytest.mark.parametrize("size", [1, 2, 3])
def test_an_edit_is_found_wherever_a_page_begins_and_ends(
    requests: Requests, set_batch_sizes: Callable[[int], None], size: int
) -> None:
    set_batch_sizes(size)
    for seq, (column, value) in product((3, 4, 5), EDITS.items()):
        before = forging.row(seq)[column]
        forge(f"UPDATE {TABLE} SET {column} = %s WHERE seq = %s", [value, seq])
        finding = chain_walk.walk().finding
        assert finding is not None, (seq, column)
        assert finding.seq == seq, (seq, column)
        forge(f"UPDATE {TABLE} SET {column} = %s WHERE seq = %s", [before, seq])
    assert chain_walk.walk().finding is None


@pytest.mark.parametrize("size", [1, 2, 3, 2000])
def test_an_event_of_another_chain_is_found_wherever_a_page_begins(
    requests: Requests, set_batch_sizes: Callable[[int], None], size: int
) -> None:
    """Each event has its right hash, and one of them another predecessor."""
    set_batch_sizes(size)
    for seq in (3, 4, 5):
        event = forging.row(seq)
        forged = forging.rehash(event | {"previous": "f" * 64})
        forge(
            f"UPDATE {TABLE} SET previous = %s, hash = %s WHERE seq = %s",
            [forged["previous"], forged["hash"], seq],
        )
        finding = chain_walk.walk().finding
        assert finding is not None
        assert (finding.seq, "is not chained to" in finding.reason) == (seq, True)
        forge(
            f"UPDATE {TABLE} SET previous = %s, hash = %s WHERE seq = %s",
            [event["previous"], event["hash"], seq],
        )


def test_a_rehashed_number_that_json_cannot_hold_is_found(requests: Requests) -> None:
    """Programs round integers from 2^53 on, so one text would stand for several."""
    if connection.vendor == "sqlite":  # the column of PostgreSQL is too small
        forge(f"UPDATE {TABLE} SET format = %s WHERE seq = 4", [2**53])
        recompute_from(4)
        assert_broken(verify(with_tables=False), 4, "too large")


def test_unusual_times_are_verified_like_all_others(
    requests: Requests, set_batch_sizes: Callable[[int], None]
) -> None:
    """A whole second has a shorter text in SQLite, and a clock may have gone back."""
    times = {
        3: "2031-01-01 00:00:00",
        4: "2031-01-01 00:00:01.000001",
        5: "2030-12-31 23:59:59.000001",
    }
    for seq, text in times.items():
        at = text if connection.vendor == "sqlite" else f"{text}+00:00"
        forge(f"UPDATE {TABLE} SET at = %s WHERE seq = %s", [at, seq])
    recompute_from(3)
    for size in (1, 2, 3, 2000):
        set_batch_sizes(size)
        result = chain_walk.walk()
        assert (result.finding, result.backwards) == (None, 5)
        assert result.events == result.head.seq == AuditEvent.objects.count()
    forge(f"UPDATE {TABLE} SET actor = 'Mallory' WHERE seq = 4")
    finding = chain_walk.walk().finding
    assert finding is not None
    assert finding.seq == 4
