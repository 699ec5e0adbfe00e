"""The one client of this process, with its kept-alive connections."""

import threading
from functools import cache

import structlog

from killswitch.ems.client import EmsClient
from killswitch.ems.null_client import NullEmsClient

log = structlog.get_logger(__name__)


def get_client() -> EmsClient | NullEmsClient:
    """The client; from any number of threads at once.

    One that cannot be made, for want of its certificate for example, delivers nothing and says
    why; it is tried again with the next call.
    """
    try:
        with _making:
            return _client()
    except Exception as error:
        log.exception("ems_client_unusable")
        return NullEmsClient(error)


# Without it, the fifty threads of a first press would make fifty, and TLS takes 45 ms for each.
_making = threading.Lock()


@cache
def _client() -> EmsClient:
    return EmsClient.from_settings()


def forget_client() -> None:
    """Make a new one with the next call."""
    _client.cache_clear()
