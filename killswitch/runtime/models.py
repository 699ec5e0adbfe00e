"""The models of the runtime package, where Django looks for them."""

from killswitch.runtime.heartbeats import Heartbeat
from killswitch.runtime.revisions import Revision, Revisioned

__all__ = ["Heartbeat", "Revision", "Revisioned"]
