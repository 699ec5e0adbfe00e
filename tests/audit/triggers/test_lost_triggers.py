"""Guards that are down, weakened or rebuilt away are found, and put back by a migration."""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from django.core.management import call_command
from django.db import DatabaseError, connection, models, transaction

from killswitch.audit import chain
from killswitch.audit.chain import NewEvent
from killswitch.audit.models import AuditEvent, EventKind
from killswitch.audit.triggers import protection, sqlite
from killswitch.audit.verification.findings import Proof
from killswitch.audit.verification.verify import verify, verify_newest
from tests.audit import forging
from tests.audit.log import record

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True)]
TABLE = forging.TABLE


@pytest.fixture(autouse=True)
def _three_events() -> None:
    record(*(NewEvent(kind=EventKind.SIGNED_IN, data={"number": number}) for number in range(3)))


DOWN = {
    "sqlite": [
        ("DROP TRIGGER audit_events_are_not_changed", "audit_events_are_not_changed is missing"),
        ("DROP TRIGGER audit_events_are_not_removed", "audit_events_are_not_removed is missing"),
        ("DROP TRIGGER audit_events_are_only_appended", "only_appended is missing"),
        (
            f"DROP TRIGGER audit_events_are_not_changed;"
            f"CREATE TRIGGER audit_events_are_not_changed BEFORE UPDATE OF kind ON {TABLE}"
            " BEGIN SELECT RAISE(ABORT, 'audit events are never changed'); END",
            "was changed",
        ),
        (
            f"CREATE TRIGGER late AFTER INSERT ON {TABLE} BEGIN DELETE FROM django_session; END",
            "the trigger late is unexpected",
        ),
        (
            "CREATE TRIGGER late BEFORE INSERT ON AUDIT_AuditEvent WHEN NEW.kind = 'DENIED'"
            " BEGIN SELECT RAISE(IGNORE); END",
            "the trigger late is unexpected",
        ),
        (
            f"CREATE TABLE moved (seq, UNIQUE (seq) ON/**/CONFLICT IGNORE); DROP TABLE {TABLE};"
            f" ALTER TABLE moved RENAME TO {TABLE}",
            "has an ON CONFLICT clause",
        ),
        (
            f"ALTER TABLE {TABLE} RENAME TO moved; CREATE VIEW {TABLE} AS SELECT * FROM moved",
            "is missing",
        ),
        (
            "CREATE TRIGGER deaf BEFORE INSERT ON Alarms_Alarm BEGIN SELECT RAISE(IGNORE); END",
            "the trigger deaf on alarms_alarm is unexpected",
        ),
        (
            "ALTER TABLE exchanges_exchange RENAME TO moved;"
            "CREATE VIEW exchanges_exchange AS SELECT * FROM moved",
            "the view exchanges_exchange on exchanges_exchange is unexpected",
        ),
        (
            "CREATE TRIGGER deaf AFTER UPDATE ON django_migrations"
            " BEGIN DELETE FROM alarms_telling; END",
            "the trigger deaf on django_migrations is unexpected",
        ),
        (
            "CREATE TABLE Foreigner (x);CREATE TRIGGER deaf AFTER INSERT ON foreigner"
            " BEGIN DELETE FROM alarms_telling; END",
            "the trigger deaf on foreigner is unexpected",
        ),
        (
            "CREATE VIEW seen AS SELECT 1 AS x;CREATE TRIGGER deaf INSTEAD OF INSERT ON seen"
            " BEGIN DELETE FROM alarms_telling; END",
            "the trigger deaf on seen is unexpected",
        ),
        (
            "CREATE TABLE moved (id integer PRIMARY KEY, CHECK (id < 40) On/**/Conflict IGNORE);"
            " DROP TABLE alarms_telling; ALTER TABLE moved RENAME TO Alarms_Telling",
            "the table alarms_telling has an ON CONFLICT clause",
        ),
        (
            f"CREATE TABLE moved AS SELECT * FROM {TABLE}; DROP TABLE {TABLE};"
            f" ALTER TABLE moved RENAME TO {TABLE}",
            "has lost its PRIMARY KEY (seq)",
        ),
        (
            f"CREATE TABLE moved (seq bigint PRIMARY KEY, hash text); DROP TABLE {TABLE};"
            f" ALTER TABLE moved RENAME TO {TABLE};"
            f"CREATE UNIQUE INDEX no_two_events ON {TABLE} (hash) WHERE seq < 9",
            "has lost its UNIQUE (hash)",
        ),
    ],
    "postgresql": [
        (f"DROP TRIGGER audit_events_stay ON {TABLE}", "audit_events_stay is missing"),
        (f"DROP TRIGGER audit_events_are_only_appended ON {TABLE}", "only_appended is missing"),
        ("DROP FUNCTION audit_events_stay() CASCADE", "audit_events_stay is missing"),
        (f"ALTER TABLE {TABLE} DISABLE TRIGGER audit_events_stay", "does not always fire"),
        (f"ALTER TABLE {TABLE} DISABLE TRIGGER ALL", "does not always fire"),
        (f"ALTER TABLE {TABLE} ENABLE TRIGGER audit_events_stay", "does not always fire"),
        (f"ALTER TABLE {TABLE} ENABLE REPLICA TRIGGER audit_events_stay", "does not always fire"),
        (
            "CREATE OR REPLACE FUNCTION audit_events_stay() RETURNS trigger LANGUAGE plpgsql"
            " SET search_path = pg_catalog, pg_temp AS 'BEGIN RETURN NULL; END'",
            "audit_events_stay was changed",
        ),
        ("ALTER FUNCTION audit_events_stay() SECURITY DEFINER", "was changed"),
        ("ALTER FUNCTION audit_events_are_only_appended() RESET ALL", "was changed"),
        (
            f"DROP TRIGGER audit_events_stay ON {TABLE};"
            f"CREATE TRIGGER audit_events_stay BEFORE UPDATE OR DELETE ON {TABLE}"
            " FOR EACH STATEMENT EXECUTE FUNCTION audit_events_stay();"
            f"ALTER TABLE {TABLE} ENABLE ALWAYS TRIGGER audit_events_stay",
            "was changed",
        ),
        (
            f"DROP TRIGGER audit_events_are_only_appended ON {TABLE};"
            f"CREATE TRIGGER audit_events_are_only_appended BEFORE INSERT ON {TABLE}"
            " FOR EACH ROW WHEN (NEW.seq < 0) EXECUTE FUNCTION audit_events_are_only_appended();"
            f"ALTER TABLE {TABLE} ENABLE ALWAYS TRIGGER audit_events_are_only_appended",
            "was changed",
        ),
        (
            f"DROP TRIGGER audit_events_stay ON {TABLE};"
            f"CREATE TRIGGER audit_events_stay BEFORE UPDATE OF kind OR DELETE OR TRUNCATE"
            f" ON {TABLE} FOR EACH STATEMENT EXECUTE FUNCTION audit_events_stay();"
            f"ALTER TABLE {TABLE} ENABLE ALWAYS TRIGGER audit_events_stay",
            "was changed",
        ),
        (
            f"CREATE TRIGGER late AFTER INSERT ON {TABLE} EXECUTE FUNCTION audit_events_stay()",
            "the trigger late is unexpected",
        ),
        (f"CREATE RULE hide AS ON DELETE TO {TABLE} DO INSTEAD NOTHING", "rewrite rules"),
        (f"ALTER TABLE {TABLE} ENABLE ROW LEVEL SECURITY", "row security"),
        (f"CREATE TABLE heir () INHERITS ({TABLE})", "another table"),
        (f"ALTER TABLE {TABLE} SET UNLOGGED", "a crash would empty the log"),
        (f"GRANT UPDATE ON {TABLE} TO PUBLIC", "may change events: PUBLIC"),
        (f"GRANT UPDATE (actor) ON {TABLE} TO PUBLIC", "may change events: PUBLIC"),
        (
            "CREATE RULE deaf AS ON INSERT TO alarms_alarm DO INSTEAD NOTHING",
            "the rule deaf on alarms_alarm is unexpected",
        ),
        (
            "CREATE TRIGGER deaf BEFORE UPDATE ON cancels_cancelrequest"
            " FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
            "the trigger deaf on cancels_cancelrequest is unexpected",
        ),
        (
            "CREATE TABLE foreigner (x int);CREATE TRIGGER deaf BEFORE UPDATE ON foreigner"
            " FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
            "the trigger deaf on foreigner is unexpected",
        ),
        (
            "CREATE TABLE foreigner (x int);CREATE RULE deaf AS ON INSERT TO foreigner"
            " DO ALSO DELETE FROM alarms_telling",
            "the rule deaf on foreigner is unexpected",
        ),
        (
            "ALTER TABLE exchanges_exchange RENAME TO moved;"
            "CREATE VIEW exchanges_exchange AS SELECT * FROM moved",
            "the rule _RETURN on exchanges_exchange is unexpected",
        ),
        (
            f"ALTER TABLE {TABLE} DROP CONSTRAINT audit_auditevent_pkey",
            "has lost its PRIMARY KEY (seq)",
        ),
        (
            f"ALTER TABLE {TABLE} DROP CONSTRAINT no_two_events_have_the_same_hash;"
            f"CREATE UNIQUE INDEX no_two_events_have_the_same_hash ON {TABLE} (hash) WHERE seq < 9",
            "has lost its UNIQUE (hash)",
        ),
    ],
}


class _Undo(Exception):
    """Ends a transaction, and all that was done to the guards in it."""


@contextmanager
def undone() -> Iterator[Any]:
    """A cursor whose deeds are taken back."""
    with suppress(_Undo), transaction.atomic(), connection.cursor() as cursor:
        yield cursor
        raise _Undo


def test_guards_that_are_down_or_weakened_are_found() -> None:
    assert protection.problems(connection) == []
    for statement, words in DOWN[connection.vendor]:
        with undone() as cursor:
            for part in re.split(r";(?=CREATE|ALTER| CREATE| ALTER| DROP)", statement):
                cursor.execute(part)
            found = protection.problems(connection)
            assert any(words in fault for fault in found), (statement, found)
    assert protection.problems(connection) == []


def test_a_view_that_nobody_takes_for_a_table_of_ours_is_none_of_it() -> None:
    with undone() as cursor:
        cursor.execute("CREATE VIEW for_the_auditors AS SELECT * FROM exchanges_exchange")
        assert protection.problems(connection) == []


def test_verification_tells_of_guards_that_are_down() -> None:
    statement, words = DOWN[connection.vendor][0]
    with undone() as cursor:
        cursor.execute(statement)
        for verdict in (verify(), verify_newest(chain.head())):
            assert [finding.proof for finding in verdict.findings] == [Proof.GUARDS]
            assert words in verdict.reason
            assert verdict.first_bad_seq is None


def test_a_view_in_the_place_of_the_log_is_a_finding() -> None:
    with undone() as cursor:
        cursor.execute(f"ALTER TABLE {TABLE} RENAME TO moved")
        cursor.execute(f"CREATE VIEW {TABLE} AS SELECT * FROM moved WHERE seq < 3")
        for verdict in (verify(), verify_newest(chain.head())):
            assert [finding.proof for finding in verdict.findings] == [Proof.GUARDS]


def test_a_rebuilt_table_has_its_guards_again_after_the_migration() -> None:
    """Django's way to alter a table of SQLite is to copy it, without its triggers."""
    field = models.CharField(max_length=10, default="x")
    field.set_attributes_from_name("added")
    with connection.schema_editor() as editor:
        editor.add_field(AuditEvent, field)
        editor.remove_field(AuditEvent, field)
    was_down = connection.vendor == "sqlite"
    assert bool(protection.problems(connection)) is was_down
    call_command("migrate", verbosity=0)
    assert protection.problems(connection) == []
    told = AuditEvent.objects.filter(kind=EventKind.GUARDS_PUT_BACK)
    assert told.count() == was_down
    assert verify().ok


def test_migrating_again_changes_and_tells_nothing() -> None:
    call_command("migrate", verbosity=0)
    assert AuditEvent.objects.count() == 3


def test_putting_back_harms_no_start_when_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_connection: object) -> list[str]:
        raise DatabaseError("must be owner of table")

    monkeypatch.setattr(protection, "install", refuse)
    protection.reinstall(using="default")


def test_put_up_makes_everything_stand_again() -> None:
    names = {"sqlite": sqlite.TRIGGERS, "postgresql": ("audit_events_stay",)}
    on = f" ON {TABLE}" if connection.vendor == "postgresql" else ""
    with undone() as cursor:
        for name in names[connection.vendor]:
            cursor.execute(f"DROP TRIGGER {name}{on}")
        assert protection.install(connection)
        assert protection.problems(connection) == []
        assert protection.install(connection) == []
