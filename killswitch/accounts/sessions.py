"""Sessions in the database, found only by keys of the shape that we give out.

A cookie can carry any bytes; PostgreSQL refuses some of them with an error, which would become an
error page for whoever sends them.
"""

import re

from django.contrib.sessions.backends import db

OURS = re.compile(r"[a-z0-9]{32}")


class SessionStore(db.SessionStore):
    """A cookie that we did not make is no session."""

    def _validate_session_key(self, key: str | None) -> bool:
        return OURS.fullmatch(key or "") is not None
