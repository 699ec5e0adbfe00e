"""The documented set-up of roles: the application's role can append to the log, and no more."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from django.conf import settings

from tests.postgresql import new_server, start

ROOT = Path(settings.BASE_DIR)
TABLE = "audit_auditevent"
HASH = "repeat('a', 64)"
Url = Callable[..., str]


def _statements(number: int) -> list[str]:
    """The statements of one block of SQL in the documentation."""
    text = (ROOT / "docs" / "postgresql-roles.md").read_text()
    block = re.findall(r"```sql\n(.*?)```", text, re.DOTALL)[number]
    return [statement.strip() for statement in block.split(";") if statement.strip()]


def _execute(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def _manage(url: str, *arguments: str, home: Path) -> "subprocess.CompletedProcess[str]":
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "killswitch.settings",
        "DATABASE_URL": url,
        "EMS_BASE_URL": "http://127.0.0.1:9",
        "KILLSWITCH_HOME": str(home),
        "KILLSWITCH_PASSWORD": "correct horse battery",
    }
    return subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """Short, for the sake of the socket's path."""
    path = Path(tempfile.mkdtemp(prefix="ks-roles-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def url(home: Path) -> Url:
    """Set up as documented: how each role reaches the database."""
    superuser = start(home)

    def of(role: str, database: str = "killswitch") -> str:
        return superuser.replace("postgres:", f"{role}:", 1).replace("/postgres?", f"/{database}?")

    _execute(superuser, *_statements(0))
    _execute(of("postgres"), *_statements(1))
    prepared = _manage(of("killswitch_owner"), "prepare", home=home)
    assert prepared.returncode == 0, prepared.stderr
    added = _manage(of("killswitch_app"), "add_user", "olga", "--role", "risk_officer", home=home)
    assert added.returncode == 0, added.stderr
    return of


def _insert(seq: str, previous: str) -> str:
    return (
        f"INSERT INTO {TABLE} SELECT {seq}, at, format, software, kind, actor, role, exchange_id,"
        f" request_id, status, reject_reason, data, {previous}, {HASH} FROM {TABLE} LIMIT 1"
    )


HEAD = f"(SELECT hash FROM {TABLE} ORDER BY seq DESC LIMIT 1)"
NEXT = f"(SELECT max(seq) + 1 FROM {TABLE})"
FUNCTION = "RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'"
WAYS = [
    f"UPDATE {TABLE} SET actor = 'x'",
    f"UPDATE {TABLE} SET actor = 'x' WHERE false",
    f"DELETE FROM {TABLE}",
    f"DELETE FROM {TABLE} WHERE seq = (SELECT max(seq) FROM {TABLE})",
    f"TRUNCATE {TABLE}",
    f"TRUNCATE {TABLE} CASCADE",
    f"{_insert('1', HEAD)} ON CONFLICT (seq) DO UPDATE SET actor = 'x'",
    f"MERGE INTO {TABLE} USING (SELECT 1 AS n) s ON seq = n WHEN MATCHED THEN DELETE",
    f"SELECT * FROM {TABLE} FOR UPDATE",
    f"LOCK TABLE {TABLE} IN ACCESS EXCLUSIVE MODE",
    _insert("99", HEAD),
    _insert("0", HEAD),
    _insert(NEXT, "repeat('0', 64)"),
    f"SET session_replication_role = replica; {_insert('99', HEAD)}",
    f"DROP TABLE {TABLE}",
    f"DROP TABLE {TABLE} CASCADE",
    f"DROP TRIGGER audit_events_stay ON {TABLE}",
    f"DROP TRIGGER audit_events_are_only_appended ON {TABLE}",
    f"ALTER TABLE {TABLE} DISABLE TRIGGER ALL",
    f"ALTER TABLE {TABLE} DISABLE TRIGGER USER",
    f"ALTER TABLE {TABLE} DISABLE TRIGGER audit_events_stay",
    f"ALTER TABLE {TABLE} ENABLE REPLICA TRIGGER audit_events_stay",
    f"ALTER TABLE {TABLE} RENAME TO other",
    f"ALTER TABLE {TABLE} RENAME COLUMN actor TO other",
    f"ALTER TABLE {TABLE} ADD COLUMN other text",
    f"ALTER TABLE {TABLE} DROP COLUMN actor",
    f"ALTER TABLE {TABLE} ALTER COLUMN actor TYPE text USING 'x'",
    f"ALTER TABLE {TABLE} OWNER TO killswitch_app",
    f"ALTER TABLE {TABLE} ENABLE ROW LEVEL SECURITY",
    f"ALTER TABLE {TABLE} SET SCHEMA pg_temp",
    f"ALTER TRIGGER audit_events_stay ON {TABLE} RENAME TO other",
    f"CREATE POLICY other ON {TABLE} USING (false)",
    f"CREATE RULE other AS ON INSERT TO {TABLE} DO INSTEAD NOTHING",
    f"CREATE TRIGGER other BEFORE INSERT ON {TABLE} EXECUTE FUNCTION audit_events_stay()",
    f"CREATE INDEX ON {TABLE} (actor)",
    "DROP INDEX audit_at",
    f"CREATE OR REPLACE FUNCTION audit_events_stay() {FUNCTION}",
    f"CREATE OR REPLACE FUNCTION audit_events_are_only_appended() {FUNCTION}",
    "DROP FUNCTION audit_events_stay() CASCADE",
    "ALTER FUNCTION audit_events_stay() RENAME TO other",
    "ALTER FUNCTION audit_events_stay() SET search_path = other",
    f"CREATE TABLE public.other AS SELECT * FROM {TABLE}",
    f"CREATE TABLE public.heir () INHERITS ({TABLE})",
    f"CREATE TEMP TABLE {TABLE} (seq bigint, hash text)",
    "CREATE SCHEMA other",
    "DROP SCHEMA public CASCADE",
    "SET ROLE killswitch_owner",
    "SET SESSION AUTHORIZATION killswitch_owner",
    "ALTER ROLE killswitch_app SUPERUSER",
    "ALTER ROLE killswitch_owner PASSWORD 'known'",
    "GRANT killswitch_owner TO killswitch_app",
    "ALTER DATABASE killswitch SET session_replication_role = replica",
    "ALTER SYSTEM SET session_replication_role = replica",
    "ALTER DEFAULT PRIVILEGES FOR ROLE killswitch_owner GRANT ALL ON TABLES TO PUBLIC",
    f"UPDATE pg_trigger SET tgenabled = 'D' WHERE tgrelid = '{TABLE}'::regclass",
    f"DELETE FROM pg_class WHERE oid = '{TABLE}'::regclass",
    f"COPY (SELECT 1) TO PROGRAM 'true'; DELETE FROM {TABLE}",
    f"DO $$ BEGIN EXECUTE 'DELETE FROM {TABLE}'; END $$",
    "CREATE EXTENSION plpython3u",
    "LOAD 'auto_explain'",
]


# PostgreSQL answers this with a warning, and grants nothing.
WITHOUT_EFFECT = [f"GRANT ALL ON {TABLE} TO killswitch_app"]


def _state(url: Url) -> list[tuple[object, ...]]:
    """Everything that must not change, as a superuser sees it."""
    with psycopg.connect(url("postgres")) as connection:
        return [
            row
            for statement in (
                f"SELECT * FROM {TABLE} ORDER BY seq",
                "SELECT oid, relname, relowner, relacl::text, relrowsecurity FROM pg_class"
                f" WHERE relname LIKE '{TABLE}%%' OR relname LIKE 'audit%%' ORDER BY oid",
                "SELECT tgname, tgenabled::text, tgfoid FROM pg_trigger"
                f" WHERE tgrelid = '{TABLE}'::regclass ORDER BY 1",
                "SELECT proname, prosrc, proconfig FROM pg_proc WHERE proname LIKE 'audit%%'"
                " ORDER BY 1",
                "SELECT rolname, rolsuper FROM pg_roles ORDER BY 1",
            )
            for row in connection.execute(statement.encode()).fetchall()
        ]


def test_the_application_can_do_nothing_to_the_log_but_append(url: Url) -> None:
    before = _state(url)
    assert len(WAYS) > 50
    went_through = []
    for way in WAYS + WITHOUT_EFFECT:
        with psycopg.connect(url("killswitch_app"), autocommit=True) as connection:
            try:
                for part in way.split("; ") if "$$" not in way else [way]:
                    connection.execute(part.encode())
            except psycopg.Error:
                continue
            went_through.append(way)
    assert went_through == WITHOUT_EFFECT
    assert _state(url) == before


def test_copy_meets_the_guard_too(url: Url) -> None:
    before = _state(url)
    with psycopg.connect(url("killswitch_app")) as connection:
        [row] = connection.execute(f"SELECT * FROM {TABLE} LIMIT 1".encode()).fetchall()
        with (
            pytest.raises(psycopg.errors.IntegrityConstraintViolation),
            connection.cursor().copy(f"COPY {TABLE} FROM STDIN".encode()) as copy,
        ):
            copy.write_row((99, *row[1:-1], "b" * 64))
    assert _state(url) == before


def test_the_application_works_and_appends(url: Url, home: Path) -> None:
    before = len(_state(url))
    added = _manage(url("killswitch_app"), "add_user", "carol", "--role", "compliance", home=home)
    assert added.returncode == 0, added.stderr
    assert len(_state(url)) > before


def test_preparing_again_as_the_application_needs_no_more_rights(url: Url, home: Path) -> None:
    again = _manage(url("killswitch_app"), "prepare", home=home)
    assert again.returncode == 0, again.stderr
    assert "guards" not in again.stderr


def test_each_role_can_verify_and_only_the_owner_is_warned(url: Url, home: Path) -> None:
    for role, is_warned in (
        ("killswitch_owner", True),
        ("killswitch_app", False),
        ("killswitch_auditor", False),
    ):
        verified = _manage(url(role), "verify_audit", home=home)
        assert verified.returncode == 0, verified.stderr
        assert ("owns the log" in verified.stderr) is is_warned


def test_the_auditor_can_make_a_backup_that_verifies(url: Url, home: Path) -> None:
    with psycopg.connect(url("postgres")) as connection:
        [(programs,)] = connection.execute(
            "SELECT setting FROM pg_config WHERE name = 'BINDIR'"
        ).fetchall()
    dump = home / "killswitch.dump"
    _run(f"{programs}/pg_dump", "-Fc", "-f", dump, url("killswitch_auditor"))
    _execute(url("postgres"), "CREATE DATABASE restored OWNER killswitch_owner")
    owner = url("postgres", database="restored")
    _run(f"{programs}/pg_restore", "--exit-on-error", "-d", owner, dump)
    verified = _manage(url("killswitch_auditor", database="restored"), "verify_audit", home=home)
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_the_rights_of_earlier_sequences_can_be_granted_afterwards(url: Url) -> None:
    _execute(
        url("killswitch_owner"),
        "REVOKE SELECT ON ALL SEQUENCES IN SCHEMA public FROM killswitch_auditor",
        *_statements(2),
    )
    with psycopg.connect(url("killswitch_auditor")) as connection:
        connection.execute("SELECT last_value FROM accounts_user_id_seq")


@pytest.fixture
def compose() -> Iterator[str]:
    """Give the superuser's URL of a server that has the database already, as its image makes it."""
    home = Path(tempfile.mkdtemp(prefix="ks-compose-"))
    server = new_server(home)
    superuser = str(server.get_uri())
    _execute(superuser, "CREATE DATABASE killswitch")
    yield superuser
    server.cleanup()
    shutil.rmtree(home, ignore_errors=True)


def test_the_roles_can_be_added_to_the_database_of_docker_compose(
    compose: str, tmp_path: Path
) -> None:
    created = [line for line in _statements(0) if not line.startswith("CREATE DATABASE")]
    moved = _statements(3)
    _execute(compose.replace("/postgres?", "/killswitch?"), *created[:3], *moved)
    _execute(compose.replace("/postgres?", "/killswitch?"), *created[3:], *_statements(1))
    as_owner = compose.replace("postgres:", "killswitch_owner:", 1)
    prepared = _manage(as_owner.replace("/postgres?", "/killswitch?"), "prepare", home=tmp_path)
    assert prepared.returncode == 0, prepared.stderr


def _run(*command: object) -> None:
    process = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=60, check=False
    )
    assert process.returncode == 0, process.stderr


def test_whoever_owns_the_schema_could_drop_the_log_and_is_warned(url: Url, home: Path) -> None:
    _execute(url("postgres"), "ALTER SCHEMA public OWNER TO killswitch_app")
    _execute(url("killswitch_app"), f"BEGIN; DROP TABLE {TABLE}; ROLLBACK")
    verified = _manage(url("killswitch_app"), "verify_audit", home=home)
    _execute(
        url("postgres"),
        "ALTER SCHEMA public OWNER TO pg_database_owner",
        "GRANT USAGE ON SCHEMA public TO killswitch_app",
    )
    assert verified.returncode == 0, verified.stdout
    assert "owns the schema of the log" in verified.stderr


@pytest.mark.parametrize("right", ["UPDATE", "UPDATE (actor), REFERENCES (seq)"])
def test_rights_that_were_granted_are_found_and_taken_back(
    url: Url, home: Path, right: str
) -> None:
    _execute(url("killswitch_owner"), f"GRANT {right} ON {TABLE} TO killswitch_app, PUBLIC")
    verified = _manage(url("killswitch_app"), "verify_audit", home=home)
    assert verified.returncode == 1
    assert "PUBLIC, killswitch_app" in verified.stdout
    assert _manage(url("killswitch_owner"), "prepare", home=home).returncode == 0
    assert _manage(url("killswitch_app"), "verify_audit", home=home).returncode == 0


def test_guards_that_are_down_keep_nobody_from_starting(url: Url, home: Path) -> None:
    _execute(url("killswitch_owner"), f"ALTER TABLE {TABLE} DISABLE TRIGGER audit_events_stay")
    as_app = _manage(url("killswitch_app"), "prepare", home=home)
    assert as_app.returncode == 0, as_app.stderr
    assert "audit_guards_not_put_back" in as_app.stderr
    assert _manage(url("killswitch_app"), "verify_audit", home=home).returncode == 1
    as_owner = _manage(url("killswitch_owner"), "prepare", home=home)
    assert "audit_guards_put_back" in as_owner.stderr
    verified = _manage(url("killswitch_app"), "verify_audit", home=home)
    assert verified.returncode == 0, verified.stdout
