"""Filters of the console's own templates."""

from datetime import datetime

from django import template
from django.utils import timezone

from killswitch.alarms.services import is_about
from killswitch.runtime.age import ago

register = template.Library()
register.filter("is_about", is_about)


@register.filter
def waited(at: datetime) -> str:
    """Return for how long something has waited since then, e.g. "12 min"."""
    return ago(max(0.0, (timezone.now() - at).total_seconds())).removesuffix(" ago")
