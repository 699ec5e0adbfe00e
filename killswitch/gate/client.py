"""The client of one request: sends its body within a deadline, or goes away."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import cached_property
from typing import Any, Final

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]

# Django refuses a longer one by its length alone (`console.middleware.MAX_BODY_BYTES`).
MAX_BODY_BYTES: Final = 2**20


class BodyTooSlow(Exception):
    """The whole body did not arrive in time."""


class ClientGone(Exception):
    """The client has closed its connection."""


class Client:
    """Reads on the event loop, so that a slow sender holds no thread."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._receive = receive
        headers = dict(scope["headers"])
        # The server has refused what is not a number.
        self.body_length = int(headers.get(b"content-length", 0))
        # Django does not read a body without a length either.
        self._reads_body = (
            b"transfer-encoding" not in headers and self.body_length <= MAX_BODY_BYTES
        )

    async def body(self, *, timeout_s: float) -> bytes:
        """Return the body; one that Django does not read is left unread, and empty here.

        Raises `BodyTooSlow` and `ClientGone`.
        """
        body = bytearray()
        length = self.body_length if self._reads_body else 0
        try:
            async with asyncio.timeout(timeout_s):
                while len(body) < length:
                    message = await self._receive()
                    if message["type"] == "http.disconnect":
                        raise ClientGone
                    body += message["body"]
                    if len(body) < length and not message["more_body"]:
                        raise ClientGone
        except TimeoutError:
            raise BodyTooSlow from None
        return bytes(body)

    @cached_property
    def gone(self) -> "asyncio.Future[None]":
        """Return a future that is done when the client has gone; only after its body was read."""
        return asyncio.ensure_future(self._wait_until_gone())

    async def _wait_until_gone(self) -> None:
        if not self._reads_body:
            await asyncio.get_running_loop().create_future()
        while (await self._receive())["type"] != "http.disconnect":
            pass

    def close(self) -> None:
        """End the watch for the client's going."""
        if "gone" in self.__dict__:
            self.gone.cancel()
