# ruff: noqa: S608 - the names are constants, and the schema is the catalogue's own
"""The guards of the log on PostgreSQL: triggers that fire always, and rights taken away.

The owner of the table can drop them, which verification finds; the set-up with a role of its own
for the application, which cannot, is in docs/postgresql-roles.md.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from killswitch.audit.chain import GENESIS

TABLE = "audit_auditevent"
UNIQUE = {"PRIMARY KEY (seq)", "UNIQUE (hash)"}
TAKEN_AWAY = "UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER"
# Only built-in functions and operators are found, whatever the session's own path says.
PATH = "search_path=pg_catalog, pg_temp"
ROW, BEFORE, INSERT, DELETE, UPDATE, TRUNCATE = 1, 2, 4, 8, 16, 32  # as in pg_trigger.tgtype


@dataclass(frozen=True, kw_only=True)
class Trigger:
    """A trigger and the function of the same name that it calls."""

    name: str
    when: str
    kind: int
    body: str


def triggers(schema: str) -> tuple[Trigger, ...]:
    """Both guards, for the table in this schema."""
    table = f'"{schema}".{TABLE}'
    return (
        # For each statement: a trigger for each row would not see TRUNCATE.
        Trigger(
            name="audit_events_stay",
            when="BEFORE UPDATE OR DELETE OR TRUNCATE",
            kind=BEFORE | UPDATE | DELETE | TRUNCATE,
            body=(
                "BEGIN RAISE EXCEPTION 'audit events are never changed or removed'"
                " USING ERRCODE = 'restrict_violation'; END"
            ),
        ),
        Trigger(
            name="audit_events_are_only_appended",
            when="BEFORE INSERT",
            kind=ROW | BEFORE | INSERT,
            body=f"""
DECLARE head record;
BEGIN
  SELECT seq, hash INTO head FROM {table} ORDER BY seq DESC LIMIT 1;
  IF NEW.seq IS DISTINCT FROM coalesce(head.seq, 0) + 1
    OR NEW.previous IS DISTINCT FROM coalesce(head.hash, '{GENESIS}')
  THEN RAISE EXCEPTION 'audit events are only appended to the head'
    USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  RETURN NEW;
END""",
        ),
    )


def exists(cursor: Any) -> bool:
    """Whether there is a table to guard."""
    cursor.execute("SELECT to_regclass(%s)", [TABLE])
    return cursor.fetchone()[0] is not None


def problems(cursor: Any) -> list[str]:
    """What is not as it should be, in words; nothing when the guards stand."""
    found = _triggers(cursor)
    expected = triggers(_schema(cursor))
    missing = [f"the guard {one.name} is missing" for one in expected if one.name not in found]
    changed = [
        fault for one in expected if one.name in found and (fault := _fault(one, found[one.name]))
    ]
    foreign = sorted(found.keys() - {one.name for one in expected})
    return [
        *missing,
        *changed,
        *(f"the trigger {name} is not ours" for name in foreign),
        *_faults_of_the_table(cursor),
    ]


def foreign_triggers(cursor: Any, *, tables: Collection[str]) -> list[str]:
    """Triggers and rules of these tables and of any other in the schema of the log; none is ours.

    A view is a table with a rule, and in the place of one of these tables it is a finding, too.
    """
    cursor.execute(
        "SELECT kind, name, relname FROM ("
        "SELECT 'trigger' AS kind, tgname AS name, tgrelid AS oid FROM pg_trigger"
        " WHERE NOT tgisinternal"
        " UNION ALL SELECT 'rule', rulename, ev_class FROM pg_rewrite) AS found"
        " JOIN pg_class USING (oid)"
        " WHERE oid IN (SELECT to_regclass(ours) FROM unnest(%s::text[]) AS ours)"
        " OR (name <> '_RETURN' AND oid <> %s::regclass"
        " AND relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = %s::regclass))"
        " ORDER BY relname, name",
        [[*tables], TABLE, TABLE],
    )
    return [f"the {kind} {name} on {table} is not ours" for kind, name, table in cursor.fetchall()]


def index_corruption(_cursor: Any) -> str:
    """Nothing: only a superuser could make it so, and their `amcheck` looks for that."""
    return ""


def install(cursor: Any) -> None:
    """Create the guards anew, and leave nobody but the owner a right to change events."""
    for guard in triggers(_schema(cursor)):
        cursor.execute(
            f"CREATE OR REPLACE FUNCTION {guard.name}() RETURNS trigger LANGUAGE plpgsql"
            f" SET search_path = pg_catalog, pg_temp AS $guard${guard.body}$guard$"
        )
        cursor.execute(f"DROP TRIGGER IF EXISTS {guard.name} ON {TABLE}")
        each = "ROW" if guard.kind & ROW else "STATEMENT"
        cursor.execute(
            f"CREATE TRIGGER {guard.name} {guard.when} ON {TABLE}"
            f" FOR EACH {each} EXECUTE FUNCTION {guard.name}()"
        )
        # Otherwise `SET session_replication_role = replica` would put it to sleep.
        cursor.execute(f"ALTER TABLE {TABLE} ENABLE ALWAYS TRIGGER {guard.name}")
    for grantee in _who_may_change(cursor):
        cursor.execute(f"REVOKE {TAKEN_AWAY} ON {TABLE} FROM {grantee}")


def warnings(cursor: Any) -> list[str]:
    """Weaknesses of the set-up that no guard can make good."""
    cursor.execute(
        "SELECT pg_has_role(current_user, relowner, 'USAGE'),"
        " pg_has_role(current_user, nspowner, 'USAGE')"
        " FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE c.oid = %s::regclass",
        [TABLE],
    )
    words = (
        "this database role owns the log and could drop its guards",
        "this database role owns the schema of the log and could drop the log",
    )
    found = [text for text, is_so in zip(words, cursor.fetchone(), strict=True) if is_so]
    instead = "give the application a role of its own (docs/postgresql-roles.md)"
    return [f"{text}: {instead}" for text in found[:1]]


def _schema(cursor: Any) -> str:
    cursor.execute(
        "SELECT nspname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace"
        " WHERE pg_class.oid = %s::regclass",
        [TABLE],
    )
    return str(cursor.fetchone()[0])


def _triggers(cursor: Any) -> dict[str, tuple[Any, ...]]:
    cursor.execute(
        "SELECT tgname, tgenabled::text, tgtype, tgqual IS NULL, tgattr::text, proname, prosrc,"
        " proconfig, prosecdef, lanname"
        " FROM pg_trigger JOIN pg_proc p ON p.oid = tgfoid JOIN pg_language l ON l.oid = prolang"
        " WHERE tgrelid = %s::regclass AND NOT tgisinternal",
        [TABLE],
    )
    return {name: tuple(rest) for name, *rest in cursor.fetchall()}


def _fault(guard: Trigger, found: tuple[Any, ...]) -> str:
    enabled, *rest = found
    if enabled != "A":
        return f"the guard {guard.name} does not fire always: it was disabled or weakened"
    if rest != [guard.kind, True, "", guard.name, guard.body, [PATH], False, "plpgsql"]:
        return f"the guard {guard.name} was changed"
    return ""


def _faults_of_the_table(cursor: Any) -> list[str]:
    cursor.execute(
        "SELECT relkind::text <> 'r', relpersistence::text <> 'p', relrowsecurity,"
        " EXISTS (SELECT 1 FROM pg_rewrite WHERE ev_class = c.oid),"
        " EXISTS (SELECT 1 FROM pg_inherits WHERE c.oid IN (inhparent, inhrelid))"
        " FROM pg_class c WHERE oid = %s::regclass",
        [TABLE],
    )
    words = (
        "the log is not a table of its own",
        "a crash would empty the log: it is not kept in the write-ahead log",
        "row security may hide events",
        "rewrite rules stand before the log",
        "the log shares its rows with another table",
    )
    found = [text for text, is_so in zip(words, cursor.fetchone(), strict=True) if is_so]
    found += [
        f"the log's table has lost its {words}" for words in sorted(UNIQUE - _constraints(cursor))
    ]
    if others := _who_may_change(cursor):
        found.append(f"others than the owner hold rights to change events: {', '.join(others)}")
    return found


def _constraints(cursor: Any) -> set[str]:
    cursor.execute(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = %s::regclass", [TABLE]
    )
    return {text for (text,) in cursor.fetchall()}


def _who_may_change(cursor: Any) -> list[str]:
    """Everybody but the owner who holds one of the rights, ready for a REVOKE."""
    cursor.execute(
        "SELECT DISTINCT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(rolname) END"
        # Rights to single columns are kept elsewhere; a REVOKE from the table ends both.
        " FROM (SELECT relowner, relacl AS acl FROM pg_class WHERE oid = %s::regclass"
        " UNION ALL SELECT relowner, attacl FROM pg_class JOIN pg_attribute ON attrelid = oid"
        " WHERE oid = %s::regclass) AS rights,"
        " aclexplode(acl) LEFT JOIN pg_roles ON pg_roles.oid = grantee"
        " WHERE grantee <> relowner AND privilege_type = ANY(%s)",
        [TABLE, TABLE, TAKEN_AWAY.split(", ")],
    )
    return [name for (name,) in cursor.fetchall()]
