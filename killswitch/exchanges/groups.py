"""Adds, changes and removes groups of exchanges, each change with its event."""

from collections.abc import Iterable, Mapping
from typing import Any

from killswitch.audit.actors import Actor
from killswitch.audit.models import EventKind
from killswitch.audit.recorder import recording
from killswitch.exchanges.models import Exchange, ExchangeGroup

# What an event of a group compares, with the members by their exchange IDs.
GROUP_COLUMNS = ("name", "position", "exchanges")


def group_values(group: ExchangeGroup) -> dict[str, Any]:
    """Return the columns of a group as its events record them."""
    ids = sorted(exchange.exchange_id for exchange in group.exchanges.all())
    return {"name": group.name, "position": group.position, "exchanges": ids}


def save_group(
    group: ExchangeGroup,
    *,
    exchanges: Iterable[Exchange],
    by: Actor,
    origin: Mapping[str, str],
) -> None:
    """Write a group, new or changed, and its members, with their IDs before and after.

    Raises `ExchangeGroup.DoesNotExist` if it was removed meanwhile.
    """
    pks = [exchange.pk for exchange in exchanges]
    with recording() as record:
        locked = Exchange.objects.select_for_update(no_key=True).filter(pk__in=pks)
        members = list(locked.order_by("pk"))
        before: dict[str, Any] = dict.fromkeys(GROUP_COLUMNS)
        is_new = group.pk is None
        if not is_new:
            row = ExchangeGroup.objects.select_for_update(no_key=True).get(pk=group.pk)
            before = group_values(row)
        after = {
            "name": group.name,
            "position": group.position,
            "exchanges": sorted(exchange.exchange_id for exchange in members),
        }
        changes = {
            name: [before[name], after[name]]
            for name in GROUP_COLUMNS
            if is_new or before[name] != after[name]
        }
        if not changes:
            return
        group.save(update_fields=None if is_new else ["name", "position"])
        group.exchanges.set(members)
        record.changed(group)
        record.event(
            EventKind.GROUP_ADDED if is_new else EventKind.GROUP_CHANGED,
            actor=by,
            data={"name": group.name, "changes": changes, **origin},
        )


def remove_group(pk: int, *, by: Actor, origin: Mapping[str, str]) -> None:
    """Remove a group; its exchanges stay as they are. Without a row, nothing is recorded."""
    with recording() as record:
        group = ExchangeGroup.objects.select_for_update().filter(pk=pk).first()
        if group is None:
            return
        values = group_values(group)
        group.delete()
        _ = record.revision  # open pages notice that the group is gone
        record.event(
            EventKind.GROUP_REMOVED,
            actor=by,
            data={
                "name": group.name,
                "changes": {name: [value, None] for name, value in values.items()},
                **origin,
            },
        )
