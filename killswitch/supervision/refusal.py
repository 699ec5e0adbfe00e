"""What keeps the system from starting, as one sentence for the person who tried."""

from django.core.exceptions import ImproperlyConfigured


class CannotStart(ImproperlyConfigured):
    """Ends the command with this sentence and without a traceback."""
