"""Describes the events of exchanges, of their groups and of the runbook."""

from typing import Any

from killswitch.audit.descriptions import describe_changes, descriptions
from killswitch.audit.event_reader import EventData
from killswitch.audit.models import EventKind
from killswitch.runtime.text import pluralize_count


def _exchange(data: EventData) -> str:
    return f"{describe_changes(data)}{_comment(data)}"


def _comment(data: EventData) -> str:
    comment = data.text("comment")
    return f" Comment: “{comment}”" if comment else ""


def _group(data: EventData) -> str:
    """Describe a group that was added or changed: which exchanges came, and which went."""
    changes = data.inner("changes")
    parts = []
    old_name, _ = _pair(changes, "name")
    if old_name and old_name != data.text("name"):
        parts.append(f"renamed from {old_name}")
    before, after = (set(ids or ()) for ids in _pair(changes, "exchanges"))
    for verb, ids in (("with", after - before), ("without", before - after)):
        if ids:
            parts.append(f"{verb} {', '.join(sorted(map(str, ids)))}")
    old_position, position = _pair(changes, "position")
    if position is not None and old_position is not None:
        parts.append(f"position {old_position} → {position}")
    name = data.text("name")
    return f"{name}: {'; '.join(parts)}." if parts else f"{name}: no exchanges."


def _group_removed(data: EventData) -> str:
    ids, _ = _pair(data.inner("changes"), "exchanges")
    members = ", ".join(map(str, ids or ())) or "no exchanges"
    return f"{data.text('name')}, which had {members}."


def _runbook(data: EventData) -> str:
    before, after = (str(text or "") for text in _pair(data.inner("changes"), "text"))
    if not after:
        return f"The text was removed. It had {pluralize_count(len(before), 'character')}."
    return f"Now {pluralize_count(len(after), 'character')}, before {len(before):,}: “{after}”"


def _pair(changes: EventData, column: str) -> tuple[Any, Any]:
    """Return a column before and after, None for what the event does not hold."""
    pair = changes.items(column)
    return (pair[0], pair[1]) if len(pair) == 2 else (None, None)


descriptions |= {
    EventKind.EXCHANGE_ADDED: _exchange,
    EventKind.EXCHANGE_CHANGED: _exchange,
    EventKind.GROUP_ADDED: _group,
    EventKind.GROUP_CHANGED: _group,
    EventKind.GROUP_REMOVED: _group_removed,
    EventKind.RUNBOOK_CHANGED: _runbook,
}
