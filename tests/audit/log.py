"""Records events for tests."""

from killswitch.audit.chain import NewEvent
from killswitch.audit.recorder import recording


def record(*events: NewEvent) -> None:
    """Record these events in a transaction of their own."""
    with recording() as recorder:
        recorder.add(*events)
