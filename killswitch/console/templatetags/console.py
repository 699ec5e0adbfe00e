"""Filters of the console's own templates."""

from django import template

from killswitch.alarms.services import is_about

register = template.Library()
register.filter("is_about", is_about)
