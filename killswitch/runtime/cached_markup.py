"""Renders a template once for all values that are equal, however many pages show it.

The template gets these values and nothing else: neither the request nor a row of the database. So
what could change the markup is part of the key, and a page cannot show the markup of other values.

What is a row's own, such as its ID, would still make one template of each row. Such values are
inserted into the markup that rows have in common.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache
from typing import Any

from django.template.loader import get_template
from django.utils.html import conditional_escape
from django.utils.safestring import SafeString

MAX_CACHED = 2000  # of about 2 kB
# Stands for a value. No other value can contain it: in them, "<" is escaped.
_SLOT = re.compile(r"<!-- slot ([\w.]+) -->")


def rendered(
    template: str, values: tuple[Any, ...], *, own: Collection[str] = frozenset()
) -> SafeString:
    """Return the markup of a template whose variables are the fields of this `NamedTuple`.

    The fields are texts, numbers, truth values, or further such tuples. `own` names texts that the
    template prints and at most asks whether they are empty, also those of a field: `"line.uuid"`.
    """
    texts = dict(_texts(values, own))
    # The type is part of the key: tuples are equal when their fields are.
    pieces = list(_pieces(template, type(values), _without(values, texts)))
    pieces[1::2] = [conditional_escape(texts[name]) for name in pieces[1::2]]
    return SafeString("".join(pieces))


@lru_cache(MAX_CACHED)
def _pieces(template: str, _kind: type, values: Any) -> Sequence[str]:
    """Return the markup, cut at its slots: every other piece is the name of one."""
    return tuple(_SLOT.split(get_template(template).render(_as_dict(values))))


def _texts(values: Any, own: Collection[str]) -> Iterator[tuple[str, str]]:
    for name in own:
        outer, _, inner = name.partition(".")
        value = getattr(values, outer)
        text = getattr(value, inner) if inner and value else value
        if text:
            yield name, text


def _without(values: Any, texts: Collection[str]) -> Any:
    """Return the values with a slot in place of each of these texts."""
    slots: dict[str, Any] = {}
    for name in texts:
        outer, _, inner = name.partition(".")
        slot = SafeString(f"<!-- slot {name} -->")
        if inner:
            slots[outer] = slots.get(outer, getattr(values, outer))._replace(**{inner: slot})
        else:
            slots[outer] = slot
    return values._replace(**slots)


def _as_dict(values: Any) -> dict[str, Any]:
    return {
        name: _as_dict(value) if hasattr(value, "_asdict") else value
        for name, value in values._asdict().items()
    }
