"""Filters that name who did something. The audit log stores an actor as text, and a role code."""

from django import template

from killswitch.accounts import models
from killswitch.audit.actors import actor_name

register = template.Library()
register.filter("role_label", models.role_label)
register.filter("actor_name", actor_name)


@register.filter
def person_name(actor: str) -> str:
    """Return an actor in words, a user without the username that the log keeps in brackets."""
    if actor.startswith("os:"):
        return actor_name(actor)
    return actor_name(actor.partition(" (")[0])
