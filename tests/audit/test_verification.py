"""Forged logs are found, forged through the database with its guards off; true ones verify."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection

from killswitch.audit import chain, checkpoints, signing, walking
from killswitch.audit.chain import Fact, Head, record
from killswitch.audit.findings import Fault, Verdict
from killswitch.audit.models import AuditEvent, Kind
from killswitch.audit.verification import verify, verify_newest
from killswitch.cancels.models import Attempt, Batch, CancelRequest, ResidualOrder
from killswitch.cancels.states import Status
from killswitch.exchanges.models import Exchange
from tests.audit import forging, history
from tests.audit.forging import TABLE, forge, recompute_from

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db]

Requests = dict[str, CancelRequest]


@pytest.fixture(autouse=True)
def _home(settings: Any, tmp_path: Path) -> None:
    settings.KILLSWITCH_HOME = tmp_path
    settings.DATABASE_URL = ""  # so that there is a key to sign with


@pytest.fixture
def requests() -> Requests:
    """A log and tables that agree, with a checkpoint of the newest event."""
    made = history.live()
    checkpoints.write("ROUND")
    assert_good(verify())
    return made


def assert_good(verdict: Verdict) -> None:
    assert verdict.findings == ()


def assert_broken(verdict: Verdict, seq: int | None, *words: str) -> None:
    """The chain itself does not hold, from that event on."""
    assert verdict.first is not None
    assert verdict.first.fault is Fault.CHAIN, verdict
    assert verdict.first_bad_seq == seq
    assert all(word in verdict.reason for word in words), verdict.reason


def assert_found(verdict: Verdict, fault: Fault, *words: str) -> None:
    """This proof fails, whatever the others say."""
    reasons = [finding.reason for finding in verdict.findings if finding.fault is fault]
    assert reasons, verdict
    assert all(word in reasons[0] for word in words), reasons


def only(verdict: Verdict) -> Fault:
    """The one proof that fails."""
    assert len(verdict.findings) == 1, verdict
    return verdict.findings[0].fault


def test_a_log_that_nobody_touched_verifies(requests: Requests) -> None:
    verdict = verify()
    head = chain.head()
    assert (verdict.head_seq, verdict.head_hash) == (head.seq, head.hash)
    assert verdict.events == head.seq == AuditEvent.objects.count()
    assert verdict.ok
    assert verdict.first_bad_seq is None


def test_an_empty_log_verifies() -> None:
    verdict = verify()
    assert verdict.ok
    assert verdict.head_seq == 0
    assert "there is no checkpoints.jsonl" in verdict.warnings[0]


EDITS: dict[str, Any] = {
    "software": "9.9.9",
    "format": 2,
    "kind": "DENIED",
    "actor": "somebody else",
    "role": "NOBODY",
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
    assert set(EDITS) | {"seq", "at"} == set(walking.COLUMNS)
    assert set(walking.COLUMNS) == {field.column for field in AuditEvent._meta.concrete_fields}


def test_an_edit_of_the_time_by_a_microsecond_is_found(requests: Requests) -> None:
    at = AuditEvent.objects.get(seq=4).at + timedelta(microseconds=1)
    with forging.guards_off():
        AuditEvent.objects.filter(seq=4).update(at=at)
    assert_broken(verify(), 4, "changed")


def test_an_edit_of_the_number_is_found(requests: Requests) -> None:
    forge(f"UPDATE {TABLE} SET seq = 4000 WHERE seq = 4")
    assert_broken(verify(), 4, "missing", "5")


def test_an_edit_of_the_newest_event_is_found(requests: Requests) -> None:
    newest = chain.head().seq
    forge(f"UPDATE {TABLE} SET actor = 'x' WHERE seq = %s", [newest])
    assert_broken(verify(), newest, "changed")


def test_a_field_moved_into_its_neighbour_is_found(requests: Requests) -> None:
    """The columns are hashed under their names, not glued together."""
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
    verdict = verify()
    assert only(verdict) is Fault.CHECKPOINT
    assert verdict.first_bad_seq == newest
    assert "tail of the log was cut" in verdict.reason


def test_a_wiped_log_is_found(requests: Requests) -> None:
    forge(f"DELETE FROM {TABLE}")
    verdict = verify()
    assert_found(verdict, Fault.CHECKPOINT, "missing")
    assert_found(verdict, Fault.TABLES, "0 events")


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
    verdict = verify()
    assert only(verdict) is Fault.CHECKPOINT
    assert "written anew" in verdict.reason


def test_two_swapped_events_are_found(requests: Requests) -> None:
    for before, after in ((4, -4), (5, 4), (-4, 5)):
        with forging.constraints_off():
            forge(f"UPDATE {TABLE} SET seq = %s WHERE seq = %s", [after, before])
    assert_broken(verify(), 4, "changed")


def test_two_events_with_swapped_contents_are_found(requests: Requests) -> None:
    first, second = forging.row(4), forging.row(5)
    for seq, event in ((4, second), (5, first)):
        forge(
            f"UPDATE {TABLE} SET kind = %s, actor = %s, data = %s WHERE seq = %s",
            [event["kind"], event["actor"], event["data"], seq],
        )
    assert_broken(verify(), 4, "changed")


def test_a_fork_is_found(requests: Requests) -> None:
    """A second event with the same number and the same past, as after two writers at once."""
    newest = chain.head().seq
    twin = forging.rehash(forging.row(newest) | {"actor": "twin"})
    with forging.constraints_off():
        forging.insert(twin)
        assert_broken(verify(), newest + 1, str(newest))


def test_a_fork_at_the_edge_of_a_page_is_found(
    requests: Requests, monkeypatch: pytest.MonkeyPatch
) -> None:
    twin = forging.rehash(forging.row(4) | {"actor": "twin"})
    monkeypatch.setattr(walking, "PAGE", 1)
    with forging.constraints_off():
        forging.insert(twin)
        verdict = verify()
    assert verdict.first is not None
    assert verdict.first.fault is Fault.CHAIN


def test_a_fork_that_is_continued_on_one_side_is_found(requests: Requests) -> None:
    """An event replaced by another that fits the past; the next one still names the old one."""
    replaced = forging.rehash(forging.row(4) | {"actor": "twin"})
    forge(
        f"UPDATE {TABLE} SET actor = %s, hash = %s WHERE seq = 4",
        [replaced["actor"], replaced["hash"]],
    )
    assert_broken(verify(), 5, "does not continue")


def test_a_chain_recomputed_after_an_edit_is_found_by_the_checkpoint(requests: Requests) -> None:
    forge(f"UPDATE {TABLE} SET actor = 'somebody else' WHERE seq = 1")
    recompute_from(1)
    verdict = verify()
    assert only(verdict) is Fault.CHECKPOINT
    assert verdict.first_bad_seq == chain.head().seq
    assert "written anew" in verdict.reason


def test_a_number_below_one_is_found(requests: Requests) -> None:
    with forging.constraints_off():
        forging.insert(forging.rehash(forging.row(4) | {"seq": 0, "actor": "x"}))
        assert_broken(verify(), 1, "number 0")


def test_what_no_program_of_ours_writes_is_a_finding_and_not_a_failure(
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


def test_a_clock_that_was_put_back_is_a_warning(requests: Requests) -> None:
    early = AuditEvent.objects.get(seq=4).at - timedelta(days=1)
    with forging.guards_off():
        AuditEvent.objects.filter(seq=4).update(at=early)
    recompute_from(4)
    Path(checkpoints.default_file()).unlink()
    checkpoints.write("ROUND")
    verdict = verify()
    assert verdict.ok
    assert any("event 4" in warning for warning in verdict.warnings)


# --- the working tables ---------------------------------------------------------------------

Change = Callable[[Requests], None]


def columns_of(model: Any, *but: str) -> list[str]:
    """Every column of a table but those that no event carries."""
    return [field.attname for field in model._meta.concrete_fields if field.attname not in but]


def another(value: Any, column: str) -> Any:
    """A value that the column can hold and does not."""
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case str():
            return f"{value[:-1]}~" if value else "~"
        case None if column.endswith("_at"):
            return AuditEvent.objects.get(seq=1).at
        case None:
            return 1
        case bytes() | memoryview():
            return bytes(value) + b"~"
        case UUID():
            return uuid4()
        case _:
            return value + timedelta(microseconds=1)


OF_REQUESTS = columns_of(
    CancelRequest,
    *("id", "uuid", "batch_id", "entry_id", "revision", "counter", "next_attempt_at"),
)
OF_BATCHES = columns_of(Batch, "id", "key", "target", "by_id")
OF_ATTEMPTS = columns_of(Attempt, "id", "request_id")
OF_ORDERS = columns_of(ResidualOrder, "id", "request_id")


def assert_noticed(model: Any, pk: int, column: str) -> None:
    value = model.objects.values_list(column, flat=True).get(pk=pk)
    with forging.constraints_off():
        model.objects.filter(pk=pk).update(**{column: another(value, column)})
        verdict = verify()
    assert only(verdict) is Fault.TABLES, column
    assert verdict.reason


@pytest.mark.parametrize("column", OF_REQUESTS)
def test_a_changed_column_of_a_request_is_found(requests: Requests, column: str) -> None:
    assert_noticed(CancelRequest, requests["residual"].pk, column)


@pytest.mark.parametrize("column", OF_BATCHES)
def test_a_changed_column_of_a_press_is_found(requests: Requests, column: str) -> None:
    assert_noticed(Batch, requests["confirmed"].batch_id, column)


@pytest.mark.parametrize("column", OF_ATTEMPTS)
def test_a_changed_column_of_an_attempt_is_found(requests: Requests, column: str) -> None:
    attempt = Attempt.objects.filter(request=requests["confirmed"]).latest("number")
    assert_noticed(Attempt, attempt.pk, column)


@pytest.mark.parametrize("column", OF_ORDERS)
def test_a_changed_column_of_a_remaining_order_is_found(requests: Requests, column: str) -> None:
    assert_noticed(ResidualOrder, ResidualOrder.objects.latest("id").pk, column)


def test_an_attempt_moved_to_another_request_is_found(requests: Requests) -> None:
    Attempt.objects.filter(request=requests["residual"]).update(
        request=requests["in_flight"], number=7
    )
    assert only(verify()) is Fault.TABLES


def test_a_request_moved_to_another_press_is_found(requests: Requests) -> None:
    batch = Batch.objects.get()
    batch.pk, batch.uuid, batch.key = None, uuid4(), "other"
    batch.save(force_insert=True)
    CancelRequest.objects.filter(pk=requests["residual"].pk).update(batch=batch)
    verdict = verify()
    assert only(verdict) is Fault.TABLES
    assert "batch" in verdict.reason


def _delete_request(requests: Requests) -> None:
    requests["residual"].residual_orders.all().delete()
    requests["residual"].attempts.all().delete()
    requests["residual"].delete()


def _delete_attempt(requests: Requests) -> None:
    requests["in_flight"].attempts.all().delete()


def _delete_attempt_and_count(requests: Requests) -> None:
    requests["in_flight"].attempts.all().delete()
    CancelRequest.objects.filter(pk=requests["in_flight"].pk).update(attempt_count=0)


def _delete_order(requests: Requests) -> None:
    requests["residual"].residual_orders.first().delete()  # type: ignore[union-attr]


def _add_order(requests: Requests) -> None:
    ResidualOrder.objects.create(request=requests["residual"], symbol="BTC/USD")


def _add_order_early(requests: Requests) -> None:
    ResidualOrder.objects.create(request=requests["in_flight"], symbol="BTC/USD")


def _add_attempt(requests: Requests) -> None:
    attempt = requests["in_flight"].attempts.get()
    attempt.pk, attempt.number = None, 2
    attempt.save(force_insert=True)
    CancelRequest.objects.filter(pk=requests["in_flight"].pk).update(attempt_count=2)


def _add_request(requests: Requests) -> None:
    twin = CancelRequest.objects.get(pk=requests["in_flight"].pk)
    twin.pk, twin.uuid = None, uuid4()
    twin.entry = Exchange.objects.create(exchange_id="LMAX")
    twin.save(force_insert=True)


def _add_press(requests: Requests) -> None:
    batch = Batch.objects.get()
    batch.pk, batch.uuid, batch.key = None, uuid4(), "other"
    batch.save(force_insert=True)


def _finish_silently(requests: Requests) -> None:
    CancelRequest.objects.filter(pk=requests["in_flight"].pk).update(
        status=Status.UNKNOWN, finished_at=requests["residual"].finished_at
    )


def _reopen(requests: Requests) -> None:
    CancelRequest.objects.filter(pk=requests["residual"].pk).update(
        status=Status.VERIFYING, finished_at=None
    )


def _unsend(requests: Requests) -> None:
    CancelRequest.objects.filter(pk=requests["in_flight"].pk).update(status=Status.REQUESTED)


CHANGES: list[Change] = [
    _delete_request,
    _delete_attempt,
    _delete_attempt_and_count,
    _delete_order,
    _add_order,
    _add_order_early,
    _add_attempt,
    _add_request,
    _add_press,
    _finish_silently,
    _reopen,
    _unsend,
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_row_changed_without_an_event_is_found(requests: Requests, change: Change) -> None:
    change(requests)
    verdict = verify()
    assert only(verdict) is Fault.TABLES
    assert verify(with_tables=False).ok


def test_a_request_in_flight_is_allowed_to_be_in_flight(requests: Requests) -> None:
    CancelRequest.objects.filter(pk=requests["in_flight"].pk).update(
        status=Status.VERIFYING, counter=9, holder="another", reads=4
    )
    assert_good(verify())


@pytest.mark.parametrize(
    ("column", "value"),
    [("by_name", "CAST(x'fffe' AS TEXT)"), ("asked_at", "'2026-99-99 08:00:00'"), ("uuid", "'x'")],
)
def test_a_row_that_cannot_be_read_is_a_finding(
    requests: Requests, column: str, value: str
) -> None:
    if connection.vendor == "sqlite":  # PostgreSQL's types do not let it in
        with connection.cursor() as cursor:
            cursor.execute(f"UPDATE cancels_batch SET {column} = {value}")
        assert_found(verify(), Fault.TABLES, "cannot be read")


# --- only what is new -----------------------------------------------------------------------


def test_the_newest_events_are_verified_from_a_known_head_on(requests: Requests) -> None:
    known = chain.head()
    record(Fact(kind=Kind.SIGNED_IN), Fact(kind=Kind.SIGNED_OUT))
    verdict = verify_newest(known)
    assert verdict.ok
    assert verdict.events == 2
    assert verdict.head_seq == known.seq + 2


def test_from_nothing_the_newest_events_are_all(requests: Requests) -> None:
    assert verify_newest(Head()).events == AuditEvent.objects.count()


def test_an_edit_among_the_newest_events_is_found(requests: Requests) -> None:
    known = chain.head()
    record(Fact(kind=Kind.SIGNED_IN), Fact(kind=Kind.SIGNED_OUT))
    forge(f"UPDATE {TABLE} SET actor = 'x' WHERE seq = %s", [known.seq + 1])
    assert_broken(verify_newest(known), known.seq + 1, "changed")


def test_a_known_head_that_is_gone_or_another_is_found(requests: Requests) -> None:
    known = chain.head()
    forge(f"UPDATE {TABLE} SET actor = 'x' WHERE seq = %s", [known.seq])
    recompute_from(known.seq)
    assert_broken(verify_newest(known), known.seq, "another one")
    forge(f"DELETE FROM {TABLE} WHERE seq = %s", [known.seq])
    assert_broken(verify_newest(known), known.seq, "gone")


def test_a_request_of_the_newest_events_is_compared(requests: Requests) -> None:
    known = Head(seq=2, hash=forging.row(2)["hash"])
    CancelRequest.objects.filter(pk=requests["residual"].pk).update(conclusion="all is well")
    assert_found(verify_newest(known), Fault.TABLES, "conclusion", "all is well")


def test_progress_is_told(requests: Requests, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walking, "PAGE", 3)
    told: list[tuple[str, int, int]] = []
    verify(progress=lambda *what: told.append(what))
    events = chain.head().seq
    assert told[:2] == [("events", 3, events), ("events", 6, events)]
    assert ("requests", 4, 4) in told


def test_signing_is_on_here() -> None:
    assert signing.is_on()
