"""The EMS as the rest of the product sees it: two questions, and typed answers."""

import dataclasses
import hashlib
import json
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Self
from urllib.parse import quote, urlsplit

import requests
from django.conf import settings

from killswitch.ems.answers import (
    MAX_BODY_BYTES,
    CancelAnswer,
    TimedCancelAnswer,
    no_answer,
    not_delivered,
    read_cancel,
)
from killswitch.ems.call_deadline import CallDeadline
from killswitch.ems.large_answer_slots import LargeAnswerSlot
from killswitch.ems.open_orders import (
    OpenOrders,
    OpenOrdersList,
    read_open_orders,
    unreadable,
    why_incomplete,
)
from killswitch.ems.transport import HttpReply, Transport, tls_context

KEY_HEADER = "X-CoinAPI-Key"
MAX_IDLE_S = 5.0
MAX_LIST_BYTES = 64 * 1024 * 1024
MAX_BODY_KEPT_BYTES = 2048  # bytes of a list; an empty one is whole

_KEY = re.compile(r"[\x21-\x7e]+")
_HIDDEN = "***"
# A shorter key could be an ordinary word of the EMS, which must stay as it was said.
_SECRET_LENGTH = 8


class EmsClient:
    """One for each process; every method may be called from any number of threads at once."""

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
        idle_limit: float = MAX_IDLE_S,
    ) -> None:
        """Times in seconds; `timeout` is the total of a call, `connect_timeout` is part of it.

        `client_cert` is a PEM file with certificate and key. Raises ValueError and OSError for
        settings that cannot work, never naming the key.
        """
        _refuse_unusable(base_url=base_url, api_key=api_key)
        self._orders_url = base_url.rstrip("/") + "/v1/orders"
        self._key = api_key
        self._connect_timeout = connect_timeout
        self._timeout = timeout
        self._idle_limit = idle_limit
        self._transport = Transport(
            tls=tls_context(base_url=base_url, ca_bundle=ca_bundle, client_cert=client_cert),
            headers={KEY_HEADER: api_key} if api_key else {},
            pool_size=pool_size,
        )

    @classmethod
    def from_settings(cls) -> Self:
        """The EMS of this deployment."""
        return cls(
            base_url=settings.EMS_BASE_URL,
            api_key=settings.EMS_API_KEY,
            client_cert=settings.EMS_CLIENT_CERT,
            ca_bundle=settings.EMS_CA_BUNDLE,
            connect_timeout=settings.EMS_CONNECT_TIMEOUT,
            timeout=settings.EMS_TIMEOUT,
        )

    def cancel_all(
        self,
        exchange_id: str,
        *,
        timeout: float | None = None,
        on_sent: Callable[[], None] | None = None,
    ) -> TimedCancelAnswer:
        """Ask to cancel every open order on one exchange; never raises for what the EMS does.

        `timeout` in seconds replaces the client's own. `on_sent` is called exactly once: when the
        first byte is about to leave, or when it is certain that none will.
        """
        started_at = datetime.now(UTC)
        call = self._call(timeout=timeout, on_sent=on_sent)
        request = requests.Request(
            "POST",
            f"{self._orders_url}/cancel/all",
            data=json.dumps({"exchange_id": exchange_id}).encode(),
            headers={"Content-Type": "application/json"},
        )
        reply = self._transport.call(request, call=call, limit=MAX_BODY_BYTES)
        meaning = self._without_key(_meaning(reply, call=call, exchange_id=exchange_id))
        return TimedCancelAnswer(
            **vars(meaning),
            started_at=started_at,
            finished_at=datetime.now(UTC),
            duration_ms=_since(call),
        )

    def open_orders(
        self, exchange_id: str | None = None, *, timeout: float | None = None
    ) -> OpenOrders:
        """Read the open orders of one exchange, or of all; never raises for what the EMS does."""
        started_at = datetime.now(UTC)
        call = self._call(timeout=timeout)
        query = "" if exchange_id is None else f"?exchange_id={_quoted(exchange_id)}"
        # What a cache has kept may be older than the cancel.
        fresh = {"Cache-Control": "no-cache"}
        request = requests.Request("GET", self._orders_url + query, headers=fresh)
        with LargeAnswerSlot(call) as room:
            reply = self._transport.call(
                request, call=call, limit=MAX_LIST_BYTES, on_long=room.take
            )
            reading = _reading(reply, call=call, exchange_id=exchange_id)
        return OpenOrders(
            **vars(dataclasses.replace(reading, error=self._hidden(reading.error))),
            started_at=started_at,
            finished_at=datetime.now(UTC),
            duration_ms=_since(call),
            body=self._hidden_in(reply.body[:MAX_BODY_KEPT_BYTES]),
            size=len(reply.body),
            sha256=hashlib.sha256(reply.body).hexdigest(),
        )

    def close(self) -> None:
        """Close the idle connections."""
        self._transport.close()

    def __repr__(self) -> str:
        return f"<EmsClient {self._orders_url}>"

    def _call(
        self, *, timeout: float | None, on_sent: Callable[[], None] | None = None
    ) -> CallDeadline:
        return CallDeadline(
            timeout=self._timeout if timeout is None else timeout,
            connect_timeout=self._connect_timeout,
            idle_limit=self._idle_limit,
            on_sent=on_sent,
        )

    def _hidden(self, text: str) -> str:
        return text.replace(self._key, _HIDDEN) if self._key else text

    def _without_key(self, meaning: CancelAnswer) -> CancelAnswer:
        """An EMS that repeats our key in its answer must not bring it into the log."""
        meaning = dataclasses.replace(
            meaning, transport_error=self._hidden(meaning.transport_error)
        )
        if len(self._key) < _SECRET_LENGTH:
            return meaning
        return dataclasses.replace(
            meaning,
            reject_reason=self._hidden(meaning.reject_reason),
            message=self._hidden(meaning.message),
            rejected_message=self._hidden(meaning.rejected_message),
            trace_id=self._hidden(meaning.trace_id),
            body=self._hidden_in(meaning.body),
        )

    def _hidden_in(self, body: bytes) -> bytes:
        if len(self._key) < _SECRET_LENGTH:
            return body
        return body.replace(self._key.encode(), _HIDDEN.encode())


def _meaning(reply: HttpReply, *, call: CallDeadline, exchange_id: str) -> CancelAnswer:
    if not call.sent:
        return not_delivered(reply.error)
    if reply.status is None:
        return no_answer(reply.error, at_once=call.may_be_repeated_at_once())
    meaning = read_cancel(
        exchange_id=exchange_id,
        http_status=reply.status,
        headers=reply.headers,
        body=reply.body,
        complete=reply.complete,
    )
    return dataclasses.replace(meaning, transport_error=reply.error)


def _reading(reply: HttpReply, *, call: CallDeadline, exchange_id: str | None) -> OpenOrdersList:
    if reply.status is None:
        return unreadable(reply.error)
    reading = read_open_orders(
        exchange_id=exchange_id,
        http_status=reply.status,
        body=reply.body,
        complete=reply.complete,
        # A long list takes time of our own, too: as long again as the call itself may last.
        ends_at=call.started + 2 * call.timeout,
    )
    if reply.error:
        return dataclasses.replace(reading, error=f"{reading.error}: {reply.error}")
    if reading.readable and not reading.orders and (why := why_incomplete(reply.headers)):
        return dataclasses.replace(reading, readable=False, error=why)
    return reading


def _quoted(exchange_id: str) -> str:
    """Opaque text in a query: nothing in it may act as a separator."""
    return quote(exchange_id, safe="", errors="backslashreplace")


def _since(call: CallDeadline) -> float:
    return (time.monotonic() - call.started) * 1000


def _refuse_unusable(*, base_url: str, api_key: str) -> None:
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("EMS_BASE_URL must be like https://ems.example.com")
    host = parts.hostname
    if parts.port == 0 or ".." in host or any(one == "*" or one.isspace() for one in base_url):
        raise ValueError(
            "EMS_BASE_URL must name one host, without white space, * or port 0, like"
            " https://ems.example.com"
        )
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise ValueError("EMS_BASE_URL must have no user, password, query or fragment")
    if api_key and not _KEY.fullmatch(api_key):
        raise ValueError("EMS_API_KEY must be printable ASCII without spaces")
