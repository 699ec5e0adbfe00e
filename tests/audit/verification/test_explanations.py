"""Each finding of a verification is explained in plain words before its technical reason."""

import pytest
from django.db import connection

from killswitch.audit.triggers import postgresql, sqlite
from killswitch.audit.verification.explanations import OF_TABLES, explain, proof_of, with_meaning
from killswitch.audit.verification.findings import Proof
from killswitch.audit.verification.verify import verify
from tests.audit.assertions import assert_recognised
from tests.audit.forging import TABLE, lift, put_back
from tests.settings import POSTGRESQL

# What the owner of the database can do to the table of the log.
WEAKNESSES = (
    (
        "ALTER TABLE {table} SET UNLOGGED",
        "ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
        "GRANT UPDATE ON {table} TO PUBLIC",
    )
    if POSTGRESQL
    else ("DROP TRIGGER audit_events_are_not_changed",)
)


@pytest.mark.parametrize(
    ("reason", "proof", "words"),
    [
        ("event 3 was changed: its hash does not match its columns", Proof.CHAIN, "were changed"),
        ("event 3, verified before, is gone", Proof.CHAIN, "removed or replaced"),
        ("event 3 is missing: the next event is 5", Proof.CHAIN, "removed or replaced"),
        ("event 3 is missing: there is one with the number 'x' instead", Proof.CHAIN, "removed"),
        ("event 4 is not chained to event 3: one of them was replaced", Proof.CHAIN, "replaced"),
        ("more than one event has the number 3", Proof.CHAIN, "Events in the log"),
        (
            "event 9 is missing: the end of the log was cut off, or the log was replaced",
            Proof.CHECKPOINT,
            "its end was cut off",
        ),
        ("event 9 is not the event of the checkpoint: …", Proof.CHECKPOINT, "rewritten"),
        ("line 4 of the checkpoints (event 9) is not signed", Proof.CHECKPOINT, "The file of"),
        ("line 4 of the checkpoints does not follow line 3: …", Proof.CHECKPOINT, "no longer"),
        ("the trigger audit_events_are_not_changed is missing", Proof.GUARDS, "A protection of"),
        ("the trigger x was changed", Proof.GUARDS, "A protection of"),
        ("the trigger x does not always fire: it was disabled", Proof.GUARDS, "A protection of"),
        ("the log's table has lost its UNIQUE (hash)", Proof.GUARDS, "A protection of"),
        ("the trigger a b on cancels_alarm is unexpected", Proof.GUARDS, "hide or discard"),
        ("the rule x on cancels_alarm is unexpected", Proof.GUARDS, "hide or discard"),
        ("the table x has an ON CONFLICT clause", Proof.GUARDS, "hide or discard"),
        ("row security may hide events", Proof.GUARDS, "hide or discard"),
        ("roles other than the owner may change events: PUBLIC", Proof.GUARDS, "can change it"),
        ("a crash would empty the log: it is not written to …", Proof.GUARDS, "a crash would lose"),
        ("tables and indexes of the database disagree: row 3", Proof.GUARDS, "may leave out"),
        ("request 1: status is 'X', but event 3 records 'Y'", Proof.TABLES, "do not agree"),
        ("event 3 has a review row, but no event records that review", Proof.TABLES, "not agree"),
        ("exchange x: the trigger x is missing", Proof.TABLES, "do not agree"),
        ("something that no version wrote", Proof.TABLES, "do not agree"),
    ],
)
def test_a_reason_is_explained_by_how_it_begins(reason: str, proof: Proof, words: str) -> None:
    assert proof_of(reason) is proof
    assert words in explain(reason)
    assert (explain(reason) == f"{OF_TABLES}.") == (proof is Proof.TABLES)
    assert with_meaning(reason) == f"{explain(reason)} Technical reason: {reason}."


def test_each_kind_of_lost_protection_is_explained_once() -> None:
    reason = "the trigger a is missing; the trigger b is missing; the rule c on d is unexpected"
    text = explain(reason)
    assert text.count("A protection of the log") == 1
    assert text.count("can change, hide or discard") == 1


@pytest.mark.django_db
@pytest.mark.both_databases
def test_every_lost_trigger_of_ours_is_explained() -> None:
    with connection.cursor() as cursor:
        for statement in lift(connection.vendor):
            cursor.execute(statement)
        result = verify()
        for statement in put_back(connection.vendor):
            cursor.execute(statement)
    assert_recognised(result)
    assert explain(result.reason).startswith("A protection of the log has been removed")
    is_sqlite = connection.vendor == "sqlite"
    names = sqlite.TRIGGERS if is_sqlite else [t.name for t in postgresql.triggers("public")]
    assert all(name in result.reason for name in names)


@pytest.mark.django_db
@pytest.mark.both_databases
@pytest.mark.parametrize("statement", WEAKNESSES)
def test_every_weakness_of_the_table_is_recognised(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement.format(table=TABLE))
    result = verify()
    assert not result.ok
    assert_recognised(result)
