"""Filters that name who did something. The audit log stores an actor as text, and a role code."""

from django import template

from killswitch.accounts import models

register = template.Library()
register.filter("role_label", models.role_label)

ACTOR_NAMES = {"system": "System", "anonymous": "Not signed in"}


@register.filter
def actor_name(actor: str) -> str:
    """Return an actor in words, e.g. "Command line (root)" for the `os:root` of the log."""
    if actor.startswith("os:") and " (" not in actor:  # a user may be called so as well
        return f"Command line ({actor.removeprefix('os:')})"
    return ACTOR_NAMES.get(actor, actor)


@register.filter
def person_name(actor: str) -> str:
    """Return an actor in words, a user without the username that the log keeps in brackets."""
    if actor.startswith("os:"):
        return actor_name(actor)
    return actor_name(actor.partition(" (")[0])
