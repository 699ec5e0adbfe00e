"""Template filters that are independent of the product: times, counts and foreign text."""

import re
from datetime import UTC, datetime, timedelta

from django import template
from django.utils import timezone
from django.utils.html import format_html_join
from django.utils.safestring import SafeString, mark_safe

from killswitch.runtime import text as runtime_text

register = template.Library()
register.filter("pluralize_count", runtime_text.pluralize_count)


@register.filter
def time_short(at: datetime | None) -> str:
    """Return the time in UTC, with its day unless that is today."""
    if at is None:
        return ""
    at = at.astimezone(UTC)
    now = timezone.now()
    if at.date() == now.date():
        return f"{at:%H:%M:%S}"
    year = f" {at:%Y}" if at.year != now.year else ""
    return f"{at.day} {at:%b}{year} {at:%H:%M:%S}"


@register.filter
def time_relative(at: datetime) -> str:
    """Return the time in UTC as `time_short`, and of the day before today "yesterday 14:03:22"."""
    is_yesterday = at.astimezone(UTC).date() == timezone.now().date() - timedelta(days=1)
    return f"yesterday {at.astimezone(UTC):%H:%M:%S}" if is_yesterday else time_short(at)


@register.filter
def time_minutes(at: datetime | None) -> str:
    """Return the time in UTC without its seconds, with its day unless that is today."""
    return time_short(at)[:-3]


@register.filter
def clock_since(at: datetime) -> str:
    """Return how long ago a time was as a clock that counts up, e.g. "02:14:07"."""
    return runtime_text.clock_text((timezone.now() - at).total_seconds())


@register.filter
def time_ms(at: datetime | None) -> str:
    """Return day and time in UTC to the millisecond, for evidence."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}"[:-3] if at else ""


@register.filter
def time_us(at: datetime) -> str:
    """Return day and time in UTC to the microsecond, as the audit log keeps it."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}"


@register.filter
def iso(at: datetime | None) -> str:
    """Return the value of a `datetime` attribute, in UTC to the millisecond."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z" if at else ""


@register.filter
def epoch_ms(at: datetime | None) -> int:
    """Return milliseconds since 1970 for the page's scripts, 0 for never."""
    return round(at.timestamp() * 1000) if at else 0


@register.filter
def duration(milliseconds: float | None) -> str:
    """Return a duration to read at a glance; empty when it is not known, as a negative one."""
    if milliseconds is None or milliseconds < 0:
        return ""
    return runtime_text.duration_text(milliseconds)


@register.filter
def escape_controls(text: str) -> str:
    """Return text in which no character acts on a screen; line breaks and tabs stay."""
    return runtime_text.escape_controls(text, keep="\n\t")


@register.filter
def break_at_separators(text: str) -> SafeString:
    """Return an identifier as HTML whose lines break after its separators, not inside a word."""
    parts = re.split(r"(?<=[_/:.-])", escape_controls(text))
    return format_html_join(mark_safe("<wbr>"), "{}", ((part,) for part in parts))


@register.filter
def split(text: str) -> list[str]:
    """Return the words of a text, for a list written in a template."""
    return text.split()


@register.filter
def humanize(name: str) -> str:
    """Return a name such as `RISK_OFFICER` with spaces instead of underscores."""
    return name.replace("_", " ")


@register.filter
def thousands(number: int) -> str:
    """Return e.g. "2,040"."""
    return f"{number:,}"
