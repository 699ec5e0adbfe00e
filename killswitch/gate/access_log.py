"""The ID of each HTTP request, and one line in the log for each one that matters.

The ID comes from a proxy or browser (`X-Request-ID`) or is made here. It is in every line that the
request's thread logs, in the answer, and on the page of an error, so that what a person saw can be
found in the log. What matters: forms, exports, failures and slow answers. Pages and polls that
succeed are left out, because an open console polls every second.
"""

import re
import secrets
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Final

import structlog

from killswitch.gate.client import Scope
from killswitch.gate.routes import LaneName
from killswitch.gate.wsgi_bridge import Environ
from killswitch.runtime.background_log import BACKGROUND_LOG
from killswitch.runtime.http import CLIENT_KEY, SAFE_METHODS, USER_KEY

Send = Callable[[dict[str, Any]], Awaitable[None]]

HEADER: Final = b"x-request-id"
# As proxies make them; anything else could be mistaken for another part of a line.
USABLE_ID: Final = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._-]{7,63}")
SLOW_S: Final = 2.0

log = structlog.get_logger(__name__)


class ServedRequest:
    """One request, from its first byte to its line in the log."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope = scope
        self._send = send
        self._began_at = time.monotonic()
        self._status = 0  # until the answer begins
        self.id = _id_of(scope)
        self.lane: LaneName | None = None  # until it is known
        self.environ: Environ = {}  # until its body has arrived; Django adds to it

    async def send(self, message: dict[str, Any]) -> None:
        """Send a part of the answer; its head gets the ID."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
            message["headers"] = [*message["headers"], (HEADER, self.id.encode())]
        await self._send(message)

    def log(self) -> None:
        """Have the line written, if this request matters."""
        seconds = time.monotonic() - self._began_at
        method = self._scope["method"]
        # Of a database that is gone, and of a full lane, there would be a line for each poll.
        has_failed = self._status >= 500 and (
            self._status != HTTPStatus.SERVICE_UNAVAILABLE or method not in SAFE_METHODS
        )
        is_form_or_export = method not in SAFE_METHODS or self.lane is LaneName.EXPORT
        if not (is_form_or_export or has_failed or seconds >= SLOW_S):
            return
        peer = self._scope["client"]
        BACKGROUND_LOG.info(
            log,
            "request_served",
            http_request=self.id,
            method=method,
            path=self._scope["path"],
            status=self._status,
            ms=round(seconds * 1000),
            user=self.environ.get(USER_KEY, ""),
            client=self.environ.get(CLIENT_KEY) or (peer[0] if peer else ""),
        )


def _id_of(scope: Scope) -> str:
    given = next((value for name, value in scope["headers"] if name == HEADER), b"")
    return given.decode() if USABLE_ID.fullmatch(given) else secrets.token_hex(8)
