"""Alarms, and their notifications through external channels."""
