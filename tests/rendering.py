"""Counts what makes a page slow, because a test cannot rely on the time that a page takes."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.template import Template
from django.urls.resolvers import URLResolver


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """Count the reversals of URLs ("reverse") and the templates rendered ("render") in a block."""
    counts: Counter[str] = Counter()
    reverse: Any = vars(URLResolver)["_reverse_with_prefix"]
    render: Any = Template.render

    def counted_reverse(*args: Any, **kwargs: Any) -> Any:
        counts["reverse"] += 1
        return reverse(*args, **kwargs)

    def counted_render(*args: Any, **kwargs: Any) -> Any:
        counts["render"] += 1
        return render(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(URLResolver, "_reverse_with_prefix", counted_reverse)
        patch.setattr(Template, "render", counted_render)
        yield counts
