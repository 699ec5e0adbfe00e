"""The models of the ground floor, where Django looks for them."""

from killswitch.runtime.heartbeats import Heartbeat
from killswitch.runtime.revisions import Revision, Revisioned

__all__ = ["Heartbeat", "Revision", "Revisioned"]
