# ruff: noqa: S608 - the names are constants, and the schema is the catalogue's own
"""Protects the log on PostgreSQL with triggers that always fire and with revoked rights.

The table's owner can drop them, which verification finds. docs/postgresql-roles.md describes a
set-up in which the application has a role that cannot.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from killswitch.audit.chain import GENESIS

TABLE = "audit_auditevent"
UNIQUE = {"PRIMARY KEY (seq)", "UNIQUE (hash)"}
REVOKED_RIGHTS = "UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER"
# A function resolves only built-in names, regardless of the session's own path.
PATH = "search_path=pg_catalog, pg_temp"
ROW, BEFORE, INSERT, DELETE, UPDATE, TRUNCATE = 1, 2, 4, 8, 16, 32  # as in pg_trigger.tgtype


@dataclass(frozen=True, kw_only=True)
class Trigger:
    """A trigger and the function of the same name that it calls."""

    name: str
    timing: str
    type_bits: int
    body: str


def triggers(schema: str) -> tuple[Trigger, ...]:
    """Return both triggers for the table in this schema."""
    table = f'"{schema}".{TABLE}'
    return (
        # FOR EACH STATEMENT, because a trigger FOR EACH ROW would not see TRUNCATE.
        Trigger(
            name="audit_events_stay",
            timing="BEFORE UPDATE OR DELETE OR TRUNCATE",
            type_bits=BEFORE | UPDATE | DELETE | TRUNCATE,
            body=(
                "BEGIN RAISE EXCEPTION 'audit events are never changed or removed'"
                " USING ERRCODE = 'restrict_violation'; END"
            ),
        ),
        Trigger(
            name="audit_events_are_only_appended",
            timing="BEFORE INSERT",
            type_bits=ROW | BEFORE | INSERT,
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


def problems(cursor: Any) -> list[str]:
    """Return what is wrong with the triggers, the table and its rights, as phrases."""
    current = _current_triggers(cursor)
    our_triggers = {trigger.name: trigger for trigger in triggers(_schema(cursor))}
    return [
        *(f"the trigger {name} is missing" for name in our_triggers if name not in current),
        *filter(
            None,
            (
                _trigger_problem(trigger, current[name])
                for name, trigger in our_triggers.items()
                if name in current
            ),
        ),
        *(f"the trigger {name} is unexpected" for name in sorted(current.keys() - our_triggers)),
        *_table_problems(cursor),
    ]


def foreign_triggers(cursor: Any, *, tables: Collection[str]) -> list[str]:
    """Return the triggers and rules of these tables, and of all others in the log's schema.

    A view is a table with a rule, so a view in place of one of these tables is returned as well.
    """
    cursor.execute(
        "SELECT kind, name, relname FROM ("
        "SELECT 'trigger' AS kind, tgname AS name, tgrelid AS oid FROM pg_trigger"
        " WHERE NOT tgisinternal"
        " UNION ALL SELECT 'rule', rulename, ev_class FROM pg_rewrite) AS hooks"
        " JOIN pg_class USING (oid)"
        " WHERE oid IN (SELECT to_regclass(ours) FROM unnest(%s::text[]) AS ours)"
        " OR (name <> '_RETURN' AND oid <> %s::regclass"
        " AND relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = %s::regclass))"
        " ORDER BY relname, name",
        [[*tables], TABLE, TABLE],
    )
    return [
        f"the {kind} {name} on {table} is unexpected" for kind, name, table in cursor.fetchall()
    ]


def install(cursor: Any) -> None:
    """Create the triggers again, and revoke the right to change events from all but the owner."""
    for trigger in triggers(_schema(cursor)):
        cursor.execute(
            f"CREATE OR REPLACE FUNCTION {trigger.name}() RETURNS trigger LANGUAGE plpgsql"
            f" SET search_path = pg_catalog, pg_temp AS $guard${trigger.body}$guard$"
        )
        cursor.execute(f"DROP TRIGGER IF EXISTS {trigger.name} ON {TABLE}")
        level = "ROW" if trigger.type_bits & ROW else "STATEMENT"
        cursor.execute(
            f"CREATE TRIGGER {trigger.name} {trigger.timing} ON {TABLE}"
            f" FOR EACH {level} EXECUTE FUNCTION {trigger.name}()"
        )
        # Otherwise `SET session_replication_role = replica` would disable it.
        cursor.execute(f"ALTER TABLE {TABLE} ENABLE ALWAYS TRIGGER {trigger.name}")
    for grantee in _roles_with_rights(cursor):
        cursor.execute(f"REVOKE {REVOKED_RIGHTS} ON {TABLE} FROM {grantee}")


def warnings(cursor: Any) -> list[str]:
    """Return the weaknesses of the set-up that no trigger can compensate."""
    cursor.execute(
        "SELECT pg_has_role(current_user, relowner, 'USAGE'),"
        " pg_has_role(current_user, nspowner, 'USAGE')"
        " FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE c.oid = %s::regclass",
        [TABLE],
    )
    owns_table, owns_schema = cursor.fetchone()
    remedy = "give the application a role of its own (docs/postgresql-roles.md)"
    if owns_table:
        return [f"this database role owns the log and could drop its triggers: {remedy}"]
    if owns_schema:
        return [f"this database role owns the schema of the log and could drop the log: {remedy}"]
    return []


def _schema(cursor: Any) -> str:
    cursor.execute(
        "SELECT nspname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace"
        " WHERE pg_class.oid = %s::regclass",
        [TABLE],
    )
    return str(cursor.fetchone()[0])


def _current_triggers(cursor: Any) -> dict[str, tuple[Any, ...]]:
    cursor.execute(
        "SELECT tgname, tgenabled::text, tgtype, tgqual IS NULL, tgattr::text, proname, prosrc,"
        " proconfig, prosecdef, lanname"
        " FROM pg_trigger JOIN pg_proc p ON p.oid = tgfoid JOIN pg_language l ON l.oid = prolang"
        " WHERE tgrelid = %s::regclass AND NOT tgisinternal",
        [TABLE],
    )
    return {name: tuple(rest) for name, *rest in cursor.fetchall()}


def _trigger_problem(trigger: Trigger, current: tuple[Any, ...]) -> str:
    firing, *rest = current
    if firing != "A":
        return f"the trigger {trigger.name} does not always fire: it was disabled or weakened"
    if rest != [trigger.type_bits, True, "", trigger.name, trigger.body, [PATH], False, "plpgsql"]:
        return f"the trigger {trigger.name} was changed"
    return ""


def _table_problems(cursor: Any) -> list[str]:
    cursor.execute(
        "SELECT relkind::text <> 'r', relpersistence::text <> 'p', relrowsecurity,"
        " EXISTS (SELECT 1 FROM pg_rewrite WHERE ev_class = c.oid),"
        " EXISTS (SELECT 1 FROM pg_inherits WHERE c.oid IN (inhparent, inhrelid))"
        " FROM pg_class c WHERE oid = %s::regclass",
        [TABLE],
    )
    texts = (
        "the log is not an ordinary table",
        "a crash would empty the log: it is not written to the write-ahead log",
        "row security may hide events",
        "the log has rewrite rules",
        "the log shares its rows with another table",
    )
    problems = [text for text, is_so in zip(texts, cursor.fetchone(), strict=True) if is_so]
    cursor.execute(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = %s::regclass", [TABLE]
    )
    constraints = {text for (text,) in cursor.fetchall()}
    problems += [f"the log's table has lost its {name}" for name in sorted(UNIQUE - constraints)]
    if roles := _roles_with_rights(cursor):
        problems.append(f"roles other than the owner may change events: {', '.join(roles)}")
    return problems


def _roles_with_rights(cursor: Any) -> list[str]:
    """Return the roles besides the owner that have one of the rights, quoted for a REVOKE."""
    cursor.execute(
        "SELECT DISTINCT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(rolname) END"
        # Rights to single columns are in another catalogue; a REVOKE from the table ends both.
        " FROM (SELECT relowner, relacl AS acl FROM pg_class WHERE oid = %s::regclass"
        " UNION ALL SELECT relowner, attacl FROM pg_class JOIN pg_attribute ON attrelid = oid"
        " WHERE oid = %s::regclass) AS rights,"
        " aclexplode(acl) LEFT JOIN pg_roles ON pg_roles.oid = grantee"
        " WHERE grantee <> relowner AND privilege_type = ANY(%s)",
        [TABLE, TABLE, REVOKED_RIGHTS.split(", ")],
    )
    return [name for (name,) in cursor.fetchall()]
