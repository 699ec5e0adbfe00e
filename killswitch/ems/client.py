"""The EMS as the rest of the product sees it: two calls, and typed answers."""

import hashlib
import json
import re
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from typing import Any, Self
from urllib.parse import quote, urlsplit

import structlog
from django.conf import settings
from django.utils.crypto import salted_hmac

from killswitch.ems.answers import (
    MAX_BODY_BYTES,
    CancelAnswer,
    TimedCancelAnswer,
    no_answer,
    not_delivered,
    read_cancel,
)
from killswitch.ems.open_orders import (
    OpenOrders,
    TimedOpenOrders,
    read_open_orders,
    unreadable,
)
from killswitch.ems.transport.adapter import (
    HttpReply,
    HttpRequest,
    Transport,
    prepared_url,
    tls_context,
)
from killswitch.ems.transport.call_deadline import CallDeadline
from killswitch.ems.transport.resolving import RESOLVER

KEY_HEADER = "X-CoinAPI-Key"
REQUEST_ID_HEADER = "X-Request-ID"
MAX_IDLE_S = 5.0
MAX_CONNECT_AHEAD_S = 0.005
MAX_LIST_BYTES = 64 * 1024 * 1024
MAX_LIST_KEPT_BYTES = 2048  # an empty list is kept whole
MAX_PROBE_BYTES = 64 * 1024  # its first rows show that it is a list
# Few large lists are in memory at once, whatever the number of threads.
LARGE_LIST_SLOTS = threading.BoundedSemaphore(2)

_KEY = re.compile(r"[\x21-\x7e]+")
_MASK = "***"
# A shorter key could be an ordinary word of the EMS, which must be kept as it came.
_MIN_SECRET_CHARS = 8

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class BegunCancel:
    """A cancel whose call has begun."""

    request: HttpRequest
    call: CallDeadline
    started_at: datetime

    def abandon(self) -> None:
        """Close the connection: nobody will read the answer."""
        if self.call.ahead:
            self.call.ahead.connection.close()


class EmsClient:
    """The client of a process; every method may be called from any number of threads at once."""

    def __init__(  # noqa: PLR0913 - each is one setting of the deployment
        self,
        *,
        base_url: str,
        api_key: str = "",
        client_cert: str = "",
        ca_bundle: str = "",
        connect_timeout: float = 2.0,
        timeout: float = 10.0,
        pool_size: int = 512,
        max_idle_s: float = MAX_IDLE_S,
    ) -> None:
        """Times are in seconds; `timeout` is the total of a call, `connect_timeout` part of it.

        `client_cert` is a PEM file with certificate and key. Raises ValueError and OSError for
        settings that cannot work, never naming the key.
        """
        _check_settings(base_url=base_url, api_key=api_key)
        self._orders_url = prepared_url(base_url.rstrip("/") + "/v1/orders")
        self._key = api_key
        # Keyed, so that a person who reads it cannot try out keys.
        self.fingerprint = salted_hmac(
            "killswitch.ems", f"{self._orders_url} {api_key}", algorithm="sha256"
        ).hexdigest()[:16]
        self._connect_timeout_s = connect_timeout
        self._timeout_s = timeout
        self._max_idle_s = max_idle_s
        self._transport = Transport(
            tls=tls_context(base_url=base_url, ca_bundle=ca_bundle, client_cert=client_cert),
            headers={KEY_HEADER: api_key} if api_key else {},
            pool_size=pool_size,
        )

    @classmethod
    def from_settings(cls) -> Self:
        """Return a client for the EMS of this deployment. Raises ValueError and OSError."""
        return cls(
            base_url=settings.EMS_BASE_URL,
            api_key=settings.EMS_API_KEY,
            client_cert=settings.EMS_CLIENT_CERT,
            ca_bundle=settings.EMS_CA_BUNDLE,
            connect_timeout=settings.EMS_CONNECT_TIMEOUT,
            timeout=settings.EMS_TIMEOUT,
        )

    def cancel_all(  # noqa: PLR0913 - each is one fact of the call
        self,
        exchange_id: str,
        *,
        timeout: float | None = None,
        on_sent: Callable[[], None] | None = None,
        before_reading: Callable[[], None] = lambda: None,
        begun: BegunCancel | None = None,
        request_id: str = "",
    ) -> TimedCancelAnswer:
        """Request the cancel of every open order on an exchange; never raises for a failing EMS.

        `timeout` in seconds replaces the client's own. `on_sent` is called exactly once: when the
        first byte is about to leave, or when it is certain that none will. `before_reading` is
        called when all has been sent, before the answer is read; it must not wait for long.
        `begun` is what `begin_cancel_all` returned: its answer is read, and nothing more is sent.
        `request_id` is sent along, so that the call can be found in the EMS's own log.
        """
        if begun is None:
            begun = self._new_cancel(
                exchange_id, timeout_s=timeout, on_sent=on_sent, request_id=request_id
            )
        call = begun.call
        call.before_reading = before_reading
        reply = self._send(begun.request, call=call, max_bytes=MAX_BODY_BYTES)
        answer = _cancel_answer(reply, call=call, exchange_id=exchange_id)
        return TimedCancelAnswer(
            **vars(self._without_key(answer)),
            started_at=begun.started_at,
            finished_at=datetime.now(UTC),
            duration_ms=call.elapsed_ms,
        )

    def begin_cancel_all(
        self,
        exchange_id: str,
        *,
        timeout: float | None = None,
        on_sent: Callable[[], None] | None = None,
        request_id: str = "",
    ) -> BegunCancel | None:
        """Send a cancel if that takes no waiting for the network; never raises.

        Return what `cancel_all` needs to read the answer, in any thread. Return None if no
        connection is open and none opens within milliseconds: then nothing was sent, and `on_sent`
        was not called.
        """
        begun = self._new_cancel(
            exchange_id, timeout_s=timeout, on_sent=on_sent, request_id=request_id
        )
        begun.call.connect_timeout_s = min(MAX_CONNECT_AHEAD_S, self._connect_timeout_s)
        return begun if self._transport.send_ahead(begun.request, call=begun.call) else None

    def open_orders(
        self,
        exchange_id: str | None = None,
        *,
        timeout: float | None = None,
        request_id: str = "",
    ) -> TimedOpenOrders:
        """Read the open orders of one exchange, or of all; never raises for a failing EMS."""
        call = self._new_call(timeout_s=timeout)
        return self._list(exchange_id, call=call, request_id=request_id)

    def probe(self, exchange_id: str | None) -> TimedOpenOrders:
        """Read the beginning of such a list over a new connection; never raises.

        An EMS that takes no new connections may still answer over those that are open.
        """
        call = self._new_call(timeout_s=None)
        call.needs_new_connection = True
        return self._list(exchange_id, call=call, max_bytes=MAX_PROBE_BYTES)

    def _list(
        self,
        exchange_id: str | None,
        *,
        call: CallDeadline,
        max_bytes: int = MAX_LIST_BYTES,
        request_id: str = "",
    ) -> TimedOpenOrders:
        started_at = datetime.now(UTC)
        # The id is opaque: no character of it may act as a separator.
        query = (
            f"?exchange_id={quote(exchange_id, safe='', errors='backslashreplace')}"
            if exchange_id is not None
            else ""
        )
        # A cached list may be older than the cancel.
        headers = {"Cache-Control": "no-cache, no-store", "Pragma": "no-cache"}
        headers |= _id_header(request_id)
        request = HttpRequest(method="GET", url=self._orders_url + query, headers=headers)
        with ExitStack() as slot:

            def wait_for_slot() -> None:
                if not LARGE_LIST_SLOTS.acquire(timeout=call.seconds_left()):
                    raise TimeoutError("timed out waiting for other large responses to be read")
                slot.callback(LARGE_LIST_SLOTS.release)

            reply = self._send(request, call=call, max_bytes=max_bytes, on_large=wait_for_slot)
            orders = _open_orders(reply, call=call, exchange_id=exchange_id)
        return TimedOpenOrders(
            **vars(replace(orders, error=self._masked(orders.error))),
            started_at=started_at,
            finished_at=datetime.now(UTC),
            duration_ms=call.elapsed_ms,
            body=self._masked_body(reply.body[:MAX_LIST_KEPT_BYTES]),
            size=len(reply.body),
            sha256=hashlib.sha256(reply.body).hexdigest(),
        )

    @property
    def warning(self) -> str:
        """Return why calls may soon fail that work now, "" if nothing is known of it."""
        if RESOLVER.uses_known_addresses:
            return "its name cannot be looked up; the last known address is used"
        return ""

    def close(self) -> None:
        """Close the idle connections."""
        self._transport.close()

    def __repr__(self) -> str:
        return f"<EmsClient {self._orders_url}>"

    def _new_cancel(
        self,
        exchange_id: str,
        *,
        timeout_s: float | None,
        on_sent: Callable[[], None] | None,
        request_id: str,
    ) -> BegunCancel:
        request = HttpRequest(
            method="POST",
            url=f"{self._orders_url}/cancel/all",
            headers={"Content-Type": "application/json"} | _id_header(request_id),
            body=json.dumps({"exchange_id": exchange_id}).encode(),
        )
        started_at = datetime.now(UTC)
        call = self._new_call(timeout_s=timeout_s, on_sent=on_sent)
        return BegunCancel(request=request, call=call, started_at=started_at)

    def _new_call(
        self, *, timeout_s: float | None, on_sent: Callable[[], None] | None = None
    ) -> CallDeadline:
        return CallDeadline(
            timeout_s=self._timeout_s if timeout_s is None else timeout_s,
            connect_timeout_s=self._connect_timeout_s,
            max_idle_s=self._max_idle_s,
            on_sent=on_sent,
        )

    def _send(
        self,
        request: HttpRequest,
        *,
        call: CallDeadline,
        max_bytes: int,
        on_large: Callable[[], None] = lambda: None,
    ) -> HttpReply:
        return self._transport.send(request, call=call, max_bytes=max_bytes, on_large=on_large)

    def _without_key(self, answer: CancelAnswer) -> CancelAnswer:
        """Return the answer without our key: an EMS that repeats it must not put it on record."""
        names = ["transport_error"]
        if len(self._key) >= _MIN_SECRET_CHARS:
            names += ["reject_reason", "message", "rejected_message", "trace_id"]
        texts: dict[str, Any] = {name: self._masked(getattr(answer, name)) for name in names}
        return replace(answer, body=self._masked_body(answer.body), **texts)

    def _masked(self, text: str) -> str:
        return text.replace(self._key, _MASK) if self._key else text

    def _masked_body(self, body: bytes) -> bytes:
        if len(self._key) < _MIN_SECRET_CHARS:
            return body
        return body.replace(self._key.encode(), _MASK.encode())


class NullEmsClient(EmsClient):
    """A client for settings that cannot be used: it delivers no call and answers with the reason.

    The settings are checked when the system starts, but the client is made at a process's first
    call: by then the file of a certificate may have been removed or replaced.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__(base_url="http://ems.invalid")
        self._error = f"no client for the EMS could be made: {error}"

    def begin_cancel_all(self, *_: object, **__: object) -> BegunCancel | None:
        """Send nothing, and return None."""
        return None

    def _send(self, *_: object, call: CallDeadline, **__: object) -> HttpReply:
        call.notify_sent_or_never()
        return HttpReply(error=self._error)


def get_client() -> EmsClient:
    """Return the one client of this process, with its kept-alive connections.

    It may be called from any number of threads at once. A client that cannot be made is tried
    again at the next call.
    """
    try:
        # Without the lock, the fifty threads of a first request would make fifty clients, and
        # loading the trusted certificates takes 45 ms for each.
        with _making_client:
            return _process_client()
    except Exception as error:
        log.exception("ems_client_unusable")
        return NullEmsClient(error)


_making_client = threading.Lock()


@cache
def _process_client() -> EmsClient:
    return EmsClient.from_settings()


def forget_client() -> None:
    """Have the next `get_client()` make a new client."""
    _process_client.cache_clear()


def _id_header(request_id: str) -> dict[str, str]:
    return {REQUEST_ID_HEADER: request_id} if request_id else {}


def _cancel_answer(reply: HttpReply, *, call: CallDeadline, exchange_id: str) -> CancelAnswer:
    if not call.sent:
        return not_delivered(reply.error)
    if reply.status is None:
        return no_answer(reply.error, at_once=call.may_be_repeated_at_once())
    answer = read_cancel(
        exchange_id=exchange_id,
        http_status=reply.status,
        headers=reply.headers,
        body=reply.body,
        complete=reply.complete,
    )
    return replace(answer, transport_error=reply.error)


def _open_orders(reply: HttpReply, *, call: CallDeadline, exchange_id: str | None) -> OpenOrders:
    if reply.status is None:
        return unreadable(reply.error)
    orders = read_open_orders(
        exchange_id=exchange_id,
        http_status=reply.status,
        headers=reply.headers,
        body=reply.body,
        complete=reply.complete,
        # Parsing a long list takes time as well: as long again as the call itself may take.
        ends_at=call.started_at + 2 * call.timeout_s,
    )
    return replace(orders, error=f"{orders.error}: {reply.error}") if reply.error else orders


def _check_settings(*, base_url: str, api_key: str) -> None:
    """Raise ValueError for an address or a key that cannot work, without repeating it."""
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("EMS_BASE_URL must be like https://ems.example.com")
    stray = any(character == "*" or character.isspace() for character in base_url)
    if parts.port == 0 or ".." in parts.hostname or stray:
        raise ValueError(
            "EMS_BASE_URL must name one host, without white space, * or port 0, like"
            " https://ems.example.com"
        )
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise ValueError("EMS_BASE_URL must have no user, password, query or fragment")
    if api_key and not _KEY.fullmatch(api_key):
        raise ValueError("EMS_API_KEY must be printable ASCII without spaces")
