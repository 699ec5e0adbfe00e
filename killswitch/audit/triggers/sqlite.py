# ruff: noqa: S608 - the names are constants, and the schema is the catalogue's own
"""The guards of the log on SQLite: triggers, compared with the text that SQLite keeps of them.

No trigger can refuse DROP TRIGGER or an edit of the file; those are what verification looks for.
"""

from collections.abc import Collection
from typing import Any

from killswitch.audit.chain import GENESIS

TABLE = "audit_auditevent"
UNIQUE = {"PRIMARY KEY (seq)", "UNIQUE (hash)"}
MAX_LINES = 20  # that SQLite may write about a file that is out of order

# UPDATE and DELETE alone would not do: INSERT OR REPLACE passes both, so that an insert must be
# the next event, and new.
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


def exists(cursor: Any) -> bool:
    """Whether there is a table to guard."""
    cursor.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = %s", [TABLE])
    return cursor.fetchone() is not None


def problems(cursor: Any) -> list[str]:
    """What is not as it should be, in words; nothing when the guards stand."""
    # SQLite keeps the table's name as whoever made the trigger wrote it, and reads it in any case.
    cursor.execute(
        "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND lower(tbl_name) = %s",
        [TABLE],
    )
    found = dict(cursor.fetchall())
    missing = [f"the guard {name} is missing" for name in TRIGGERS if name not in found]
    changed = [
        f"the guard {name} was changed"
        for name, text in TRIGGERS.items()
        if name in found and found[name] != text
    ]
    foreign = [f"the trigger {name} is not ours" for name in sorted(found.keys() - TRIGGERS)]
    return missing + changed + foreign + _faults_of_the_table(cursor)


def foreign_triggers(cursor: Any, *, tables: Collection[str]) -> list[str]:
    """Triggers of any other table, and views in the place of these tables; none is ours.

    Nor do these tables say what becomes of a conflict: IGNORE would swallow rows in silence.
    """
    cursor.execute(
        "SELECT type, name, lower(tbl_name) FROM sqlite_master WHERE type IN ('trigger', 'view')"
        " AND lower(tbl_name) <> %s ORDER BY tbl_name, name",
        [TABLE],
    )
    found = [
        f"the {kind} {name} on {table} is not ours"
        for kind, name, table in cursor.fetchall()
        if kind == "trigger" or table in tables
    ]
    return found + _deciding(cursor, tables)


def _deciding(cursor: Any, tables: Collection[str]) -> list[str]:
    cursor.execute(
        "SELECT lower(name) FROM sqlite_master WHERE type = 'table'"
        " AND instr(lower(sql), 'conflict') ORDER BY name"
    )
    found = [name for (name,) in cursor.fetchall() if name in tables]
    return [f"the table {name} decides on conflicts by itself" for name in found]


def index_corruption(cursor: Any) -> str:
    """Where indexes and tables disagree, or nothing: whoever owns the file can make them so.

    Pages and exports read by whatever index fits, and a walk of the log by one of them only.
    """
    cursor.execute(f"PRAGMA integrity_check({MAX_LINES})")
    lines = "\n".join(str(text) for (text,) in cursor.fetchall()).splitlines()
    if lines == ["ok"]:
        return ""
    found = next((line for line in lines if not line.startswith("***")), "it names no place")
    return f"tables and indexes of the database disagree: {found}"


def _faults_of_the_table(cursor: Any) -> list[str]:
    cursor.execute("SELECT sql FROM sqlite_master WHERE type = 'table' AND name = %s", [TABLE])
    (text,) = cursor.fetchone() or ("",)
    lost = [
        f"the log's table has lost its {words}" for words in sorted(UNIQUE - _constraints(cursor))
    ]
    # ON CONFLICT IGNORE in a constraint would swallow events; REPLACE would remove others.
    deciding = ["the log's table decides on conflicts by itself"]
    return lost + (deciding if "conflict" in text.lower() else [])


def _constraints(cursor: Any) -> set[str]:
    """Those that SQLite keeps an index for; an index that somebody made by hand is none."""
    cursor.execute(
        "SELECT kept.origin, group_concat(part.name) FROM pragma_index_list(%s) AS kept,"
        " pragma_index_info(kept.name) AS part WHERE kept.origin IN ('pk', 'u') GROUP BY kept.name",
        [TABLE],
    )
    words = {"pk": "PRIMARY KEY", "u": "UNIQUE"}
    return {f"{words[origin]} ({columns})" for origin, columns in cursor.fetchall()}


def install(cursor: Any) -> None:
    """Create the guards anew. A foreign trigger is left to be found."""
    for name, text in TRIGGERS.items():
        cursor.execute(f"DROP TRIGGER IF EXISTS {name}")
        cursor.execute(text)


def warnings(_cursor: Any) -> list[str]:
    """Weaknesses of the set-up: none are known that another set-up of SQLite would not have."""
    return []
