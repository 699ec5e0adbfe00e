"""Ages on the pages of administrators, which are not kept up to date by a script."""

from datetime import UTC, datetime

from django import template

from killswitch.runtime.age import age

register = template.Library()


@register.filter
def ago(at: datetime | None) -> str:
    """Return how long ago a time was when the page was loaded, e.g. "5 s ago"."""
    return age(at=at, now=datetime.now(UTC)).phrase("", never="never").strip()
