"""Renders a template once for all values that are equal, however many pages show it.

The template gets these values and nothing else: neither the request nor a row of the database. So
what could change the markup is part of the key, and a page cannot show the markup of other values.

What is a row's own, such as its ID, would still make one template of each row. Such values are
inserted into the markup that rows have in common.
"""

import html
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from django.template.loader import get_template
from django.utils.safestring import SafeString

MAX_CACHED = 2000  # of about 2 kB
# Stands for a value. No other value can contain it: in them, "<" is escaped.
_SLOT = re.compile(r"<!-- slot ([\w.]+) -->")
_TO_ESCAPE = re.compile("[&<>\"']")


class _Place(NamedTuple):
    """Where a tuple has a text of its own, and what stands for it."""

    position: int
    name: str
    slot: SafeString


def rendered(template: str, values: tuple[Any, ...], *, own: tuple[str, ...] = ()) -> SafeString:
    """Return the markup of a template whose variables are the fields of this `NamedTuple`.

    The fields are texts, numbers, truth values, or further such tuples. `own` names texts that the
    template prints and at most asks whether they are empty, also those of a field: `"line.uuid"`.
    """
    texts: dict[str, str] = {}
    shared = _with_slots(values, own, texts)
    # The type is part of the key: tuples are equal when their fields are.
    pieces = list(_pieces(template, type(values), shared))
    pieces[1::2] = [_escaped(texts[name]) for name in pieces[1::2]]
    return SafeString("".join(pieces))


def _escaped(text: str) -> str:
    return html.escape(text) if _TO_ESCAPE.search(text) else text  # five times faster for most


@lru_cache(MAX_CACHED)
def _pieces(template: str, _kind: type, values: Any) -> Sequence[str]:
    """Return the markup, cut at its slots: every other piece is the name of one."""
    return tuple(_SLOT.split(get_template(template).render(_as_dict(values))))


def _with_slots(
    values: Any, own: tuple[str, ...], texts: dict[str, str], *, prefix: str = ""
) -> Any:
    """Return the values with a slot in place of each of their own texts, which `texts` gets."""
    kind: Any = type(values)
    places, inner = _places(kind, own, prefix)
    fields = list(values)
    for position, name, slot in places:
        if text := fields[position]:
            texts[name] = text
            fields[position] = slot
    for position, field, names in inner:
        if value := fields[position]:
            fields[position] = _with_slots(value, names, texts, prefix=f"{field}.")
    return values._make(fields)


@lru_cache
def _places(
    kind: Any, own: tuple[str, ...], prefix: str
) -> tuple[Sequence[_Place], Sequence[tuple[int, str, tuple[str, ...]]]]:
    """Return the places of the texts in a tuple of this type, and of tuples that have some."""
    position_of = {field: position for position, field in enumerate(kind._fields)}
    places = [
        _Place(position_of[name], prefix + name, SafeString(f"<!-- slot {prefix}{name} -->"))
        for name in own
        if "." not in name
    ]
    inner: dict[str, list[str]] = {}
    for name in own:
        field, dot, field_of_it = name.partition(".")
        if dot:
            inner.setdefault(field, []).append(field_of_it)
    return places, [(position_of[field], field, tuple(names)) for field, names in inner.items()]


def _as_dict(values: Any) -> dict[str, Any]:
    return {
        name: _as_dict(value) if hasattr(value, "_asdict") else value
        for name, value in values._asdict().items()
    }
