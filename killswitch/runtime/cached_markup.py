"""Renders a template once for all values that are equal, however many pages show it.

The template gets these values and nothing else: neither the request nor a row of the database. So
what could change the markup is part of the key, and a page cannot show the markup of other values.
"""

from functools import lru_cache
from typing import Any

from django.template.loader import get_template
from django.utils.safestring import SafeString

# A row has about 2 kB: of sixty exchanges, the newest ten states or so of each.
MAX_CACHED = 2000


def rendered(template: str, values: tuple[Any, ...]) -> SafeString:
    """Return the markup of a template whose variables are the fields of this `NamedTuple`.

    The fields are texts, numbers, truth values, or further such tuples.
    """
    # The type is part of the key: tuples are equal when their fields are.
    return _rendered(template, type(values), values)


@lru_cache(MAX_CACHED)
def _rendered(template: str, _kind: type, values: Any) -> SafeString:
    return SafeString(get_template(template).render(_as_dict(values)))


def _as_dict(values: Any) -> dict[str, Any]:
    return {
        name: _as_dict(value) if hasattr(value, "_asdict") else value
        for name, value in values._asdict().items()
    }
