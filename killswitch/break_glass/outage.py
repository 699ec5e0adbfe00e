"""What this process knows of the database: whether it has just failed, or has ended a session."""

import threading
import time

import structlog
from django.contrib.auth import get_user
from django.db import connection
from django.http import HttpRequest

from killswitch.accounts.backends import SessionStore
from killswitch.accounts.models import User
from killswitch.accounts.permissions import Permission, has_permission
from killswitch.runtime.kept_connections import reserved_connection

# While pages are open, their polls fail once a second.
RECENT_S = 15.0
MAX_LOOKUP_S = 0.5

log = structlog.get_logger(__name__)


class _LastFailure:
    at = float("-inf")  # monotonic seconds


def note_failure() -> None:
    """Remember that a request could not be recorded or a page not be read."""
    _LastFailure.at = time.monotonic()


def is_recent() -> bool:
    """Return whether the database failed here a moment ago."""
    return time.monotonic() - _LastFailure.at < RECENT_S


def was_revoked(session_key: str) -> bool:
    """Return True if the database answers that this session may not cancel (any more).

    Waits half a second at most, in a thread of its own: without an answer, the cookie decides.
    """
    answers: list[bool] = []

    def look_up() -> None:
        lookup = HttpRequest()
        lookup.session = SessionStore(session_key)
        try:
            with reserved_connection():
                user = get_user(lookup)
            answers.append(isinstance(user, User) and has_permission(user, Permission.CANCEL))
        except Exception as error:  # noqa: BLE001 - an error must not hold the cancel up
            log.warning("session_not_looked_up", error=str(error).strip())
        finally:
            connection.close()

    thread = threading.Thread(target=look_up, name="session lookup", daemon=True)
    try:
        thread.start()
    except (RuntimeError, MemoryError):
        log.exception("no_thread_to_look_up_session")
        return False
    thread.join(MAX_LOOKUP_S)
    return answers == [False]
