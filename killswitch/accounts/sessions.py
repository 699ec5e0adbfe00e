"""Sessions in the database, looked up only by keys of the form that Django makes.

A cookie can carry any bytes. PostgreSQL raises an error for some of them, and the browser would
get an error page.
"""

import re

from django.contrib.sessions.backends import db

SESSION_KEY = re.compile(r"[a-z0-9]{32}")


class SessionStore(db.SessionStore):
    """Django's session store with a stricter check of the key."""

    def _validate_session_key(self, key: str | None) -> bool:
        return SESSION_KEY.fullmatch(key or "") is not None
