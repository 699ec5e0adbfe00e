"""Who can sign in: active users with the right password; demo users in the demo only.

This is Django's own backend. allauth's accepts inactive users and leads them to a page that says
so; every step after it would have to refuse them again. Sessions are Django's own as well.
"""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.contrib.auth.backends import ModelBackend
from django.contrib.sessions.backends import db
from django.contrib.sessions.models import Session
from django.db import connection
from django.http import HttpRequest
from django.utils import timezone

from killswitch.accounts.models import User
from killswitch.runtime.compiled_query import CompiledQuery

MAX_HASHING_WAIT_S = 5.0  # a whole shift may sign in at once
MAX_WAITING_THREADS = 32  # cancels need threads as well
SESSION_KEY = re.compile(r"[a-z0-9]{32}")

_waiting_threads = threading.BoundedSemaphore(MAX_WAITING_THREADS)
_hashing = threading.Lock()

# Every poll reads these two rows, and reads them anew: a session may have been ended, and a user
# disabled, by any process.
_USER_FIELDS = [field.attname for field in User._meta.concrete_fields]
_user_row = CompiledQuery(
    lambda pk: User.objects.filter(pk=pk).values_list(*_USER_FIELDS), parameters=1
)
_session_row = CompiledQuery(
    lambda key: Session.objects.filter(session_key=key).values_list("session_data", "expire_date"),
    parameters=1,
)


class HashingBusy(Exception):
    """Other passwords are being checked, and this one was not."""


@contextmanager
def exclusive_hashing() -> Iterator[None]:
    """Check one password at a time in each process, so that cancels find a free processor.

    Raises `HashingBusy` after `MAX_HASHING_WAIT_S`, or at once while too many threads wait.
    """
    if not _waiting_threads.acquire(blocking=False):
        raise HashingBusy
    try:
        if not _hashing.acquire(timeout=MAX_HASHING_WAIT_S):
            raise HashingBusy
        try:
            yield
        finally:
            _hashing.release()
    finally:
        _waiting_threads.release()


class UserBackend(ModelBackend):
    """Checked at sign-in and on every request, so that disabling an account works at once."""

    def authenticate(
        self,
        request: HttpRequest | None,
        username: str | None = None,
        password: str | None = None,
        **others: Any,
    ) -> Any:
        """Return the user with this name and password, or None. Raises `HashingBusy`."""
        with exclusive_hashing():
            return super().authenticate(request, username=username, password=password, **others)

    def get_user(self, user_id: Any) -> Any:
        """Return the user with this primary key as the database has it now, if they may sign in."""
        values = _user_row.first(user_id)
        if values is None:
            return None
        user = User.from_db(connection.alias, _USER_FIELDS, values)
        return user if self.user_can_authenticate(user) else None

    def user_can_authenticate(self, user: Any) -> bool:
        return super().user_can_authenticate(user) and (settings.DEMO or not user.is_demo)


class SessionStore(db.SessionStore):
    """Looks up only keys of the form that Django makes; a cookie can carry any bytes.

    PostgreSQL raises an error for some of them, and the browser would get an error page.
    """

    def load(self) -> dict[str, Any]:
        """Return the data of the session, {} if it has ended or does not exist."""
        row = _session_row.first(self.session_key)
        if row is None or row[1] <= timezone.now():
            self._session_key = None
            return {}
        data: dict[str, Any] = self.decode(row[0])
        return data

    def _validate_session_key(self, key: str | None) -> bool:
        return SESSION_KEY.fullmatch(key or "") is not None
