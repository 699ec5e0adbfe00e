# ruff: noqa: S608 - the names are constants, and the schema is the catalogue's own
"""Protects the log on SQLite with triggers, and compares their stored text.

No trigger can refuse DROP TRIGGER or an edit of the file; verification looks for those.
"""

from collections.abc import Collection
from typing import Any

from killswitch.audit.chain import GENESIS

TABLE = "audit_auditevent"
UNIQUE = {"PRIMARY KEY (seq)", "UNIQUE (hash)"}
MAX_LINES = 20  # of a report about a corrupt file

# Triggers on UPDATE and DELETE are not enough, because INSERT OR REPLACE passes both: an insert
# must be the next event, and new.
TRIGGERS = {
    "audit_events_are_not_changed": (
        f"CREATE TRIGGER audit_events_are_not_changed BEFORE UPDATE ON {TABLE}\n"
        "BEGIN SELECT RAISE(ABORT, 'audit events are never changed'); END"
    ),
    "audit_events_are_not_removed": (
        f"CREATE TRIGGER audit_events_are_not_removed BEFORE DELETE ON {TABLE}\n"
        "BEGIN SELECT RAISE(ABORT, 'audit events are never removed'); END"
    ),
    "audit_events_are_only_appended": (
        f"CREATE TRIGGER audit_events_are_only_appended BEFORE INSERT ON {TABLE}\n"
        f"WHEN NEW.seq IS NOT coalesce((SELECT max(seq) FROM {TABLE}), 0) + 1\n"
        f"OR NEW.previous IS NOT coalesce((SELECT hash FROM {TABLE} ORDER BY seq DESC LIMIT 1),"
        f" '{GENESIS}')\n"
        f"OR EXISTS (SELECT 1 FROM {TABLE} WHERE hash = NEW.hash)\n"
        "BEGIN SELECT RAISE(ABORT, 'audit events are only appended to the head'); END"
    ),
}


def problems(cursor: Any) -> list[str]:
    """Return what is wrong with the triggers and the table, as phrases."""
    # SQLite stores the table's name as it was written, and ignores its case.
    cursor.execute(
        "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND lower(tbl_name) = %s",
        [TABLE],
    )
    current = dict(cursor.fetchall())
    gaps = [f"the trigger {name} is missing" for name in TRIGGERS if name not in current]
    changes = [
        f"the trigger {name} was changed"
        for name, text in TRIGGERS.items()
        if name in current and current[name] != text
    ]
    foreign = [f"the trigger {name} is unexpected" for name in sorted(current.keys() - TRIGGERS)]
    return gaps + changes + foreign + _table_problems(cursor)


def foreign_triggers(cursor: Any, *, tables: Collection[str]) -> list[str]:
    """Return the triggers on any other table, and views in place of these tables.

    It also returns those of these tables that have an ON CONFLICT clause, which none of ours has:
    IGNORE would silently discard rows.
    """
    cursor.execute(
        "SELECT type, name, lower(tbl_name) FROM sqlite_master WHERE type IN ('trigger', 'view')"
        " AND lower(tbl_name) <> %s ORDER BY tbl_name, name",
        [TABLE],
    )
    foreign = [
        f"the {kind} {name} on {table} is unexpected"
        for kind, name, table in cursor.fetchall()
        if kind == "trigger" or table in tables
    ]
    cursor.execute(
        "SELECT lower(name) FROM sqlite_master WHERE type = 'table'"
        " AND instr(lower(sql), 'conflict') ORDER BY name"
    )
    return foreign + [
        f"the table {name} has an ON CONFLICT clause"
        for (name,) in cursor.fetchall()
        if name in tables
    ]


def index_corruption(cursor: Any) -> str:
    """Return where indexes and tables disagree, as the owner of the file could arrange.

    Pages and exports use whichever index fits, and verification reads the log by only one.
    """
    cursor.execute(f"PRAGMA integrity_check({MAX_LINES})")
    lines = "\n".join(str(text) for (text,) in cursor.fetchall()).splitlines()
    if lines == ["ok"]:
        return ""
    detail = next((line for line in lines if not line.startswith("***")), "no detail given")
    return f"tables and indexes of the database disagree: {detail}"


def install(cursor: Any) -> None:
    """Create the triggers, replacing changed ones. A foreign trigger stays, as a finding."""
    for name, text in TRIGGERS.items():
        cursor.execute(f"DROP TRIGGER IF EXISTS {name}")
        cursor.execute(text)


def _table_problems(cursor: Any) -> list[str]:
    # An index that was created by hand has another origin, and is no constraint.
    cursor.execute(
        "SELECT kept.origin, group_concat(part.name) FROM pragma_index_list(%s) AS kept,"
        " pragma_index_info(kept.name) AS part WHERE kept.origin IN ('pk', 'u') GROUP BY kept.name",
        [TABLE],
    )
    types = {"pk": "PRIMARY KEY", "u": "UNIQUE"}
    constraints = {f"{types[origin]} ({columns})" for origin, columns in cursor.fetchall()}
    lost = [f"the log's table has lost its {name}" for name in sorted(UNIQUE - constraints)]
    cursor.execute("SELECT sql FROM sqlite_master WHERE type = 'table' AND name = %s", [TABLE])
    (text,) = cursor.fetchone() or ("",)
    # IGNORE would discard events, and REPLACE would remove others.
    has_clause = "conflict" in text.lower()
    return lost + (["the log's table has an ON CONFLICT clause"] if has_clause else [])
