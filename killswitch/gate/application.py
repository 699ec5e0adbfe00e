"""Serves a request: its body, its place in a lane, the call of Django in a thread, its answer."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from typing import Any, Final

import structlog

from killswitch.gate.access_log import Send, ServedRequest
from killswitch.gate.client import (
    MAX_BODY_BYTES,
    BodyTooSlow,
    Client,
    ClientGone,
    Receive,
    Scope,
)
from killswitch.gate.lanes import Lane, LaneFull, Limits
from killswitch.gate.routes import LaneName, lane_of
from killswitch.gate.wsgi_bridge import Answer, Rest, WsgiApplication, call, environ_of
from killswitch.runtime.http import ID_KEY
from killswitch.runtime.kept_connections import reserved_connection

Headers = list[tuple[bytes, bytes]]

# Threads start when they are needed. Of the exports, so many are open at once; threads do not wait
# for their readers.
LIMITS: Final[Mapping[LaneName, Limits]] = {
    LaneName.CANCEL: Limits(threads=32, at_once=32),
    LaneName.CONFIRMATION: Limits(threads=16, at_once=4, max_waiting=128, max_wait_s=20),
    LaneName.BREAK_GLASS: Limits(threads=32, at_once=32),
    LaneName.POLL: Limits(threads=16, at_once=2, max_waiting=256, max_wait_s=3),
    LaneName.CONSOLE: Limits(threads=8, at_once=2, max_waiting=128, max_wait_s=20),
    LaneName.PAGE: Limits(threads=8, at_once=1, max_waiting=64, max_wait_s=20),
    LaneName.EXPORT: Limits(threads=2, at_once=8, max_waiting=16, max_wait_s=20, slow_after_s=None),
    LaneName.SIGN_IN: Limits(threads=4, at_once=1, max_waiting=64, max_wait_s=20),
    LaneName.PROBE: Limits(threads=4, at_once=2, max_waiting=64, max_wait_s=5),
    LaneName.FILE: Limits(threads=2, at_once=2, max_waiting=256, max_wait_s=10),
}
# In total: forms have a few hundred bytes, and one byte a second is slow as well.
BODY_TIMEOUT_S: Final = 5.0
LARGE_BODY_BYTES: Final = 64 * 1024
MAX_LARGE_BODIES_BYTES: Final = 64 * 2**20
# A client that is refused at once asks again at once, 23,000 times a second.
REFUSAL_PAUSE_S: Final = 1.0
BUSY = "The console is busy, so this request was not processed. Try again in a few seconds.\n"
TOO_SLOW = (
    "The form did not arrive within five seconds, so it was not processed: nothing was recorded or"
    " sent. Send it again.\n"
)
FAILED = (
    "The console could not answer this request. If it was a cancel, it may have been recorded:"
    " check Requests before you send it again. The server's log has the reason: {id}\n"
)
PLAIN_TEXT: Final[Headers] = [
    (b"content-type", b"text/plain; charset=utf-8"),
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
]

log = structlog.get_logger(__name__)


class Gate:
    """The ASGI application around Django's WSGI application."""

    def __init__(
        self,
        application: WsgiApplication,
        *,
        limits: Mapping[LaneName, Limits] = LIMITS,
        body_timeout_s: float = BODY_TIMEOUT_S,
    ) -> None:
        self._application = application
        self._body_timeout_s = body_timeout_s
        self._lanes = {name: Lane(name, limits[name]) for name in LaneName}
        self._large_body_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. Every error ends here: the server would print its traceback."""
        request = ServedRequest(scope, send)
        try:
            await self._serve(scope, receive, request)
        except ClientGone:
            pass
        except LaneFull:
            await asyncio.sleep(REFUSAL_PAUSE_S)
            await _refuse(request.send, 503, BUSY, (b"retry-after", b"5"))
        except BodyTooSlow:
            headers = ((b"connection", b"close"), (b"x-recorded", b"no"))
            await _refuse(request.send, 408, TOO_SLOW, *headers)
        except Exception:
            log.exception(
                "request_not_served",
                http_request=request.id,
                method=scope["method"],
                path=scope["path"],
            )
            await _refuse(request.send, 500, FAILED.format(id=request.id))
        finally:
            request.log()

    async def _serve(self, scope: Scope, receive: Receive, request: ServedRequest) -> None:
        client = Client(scope, receive)
        with self._room_for(client.body_length), closing(client):
            body = await client.body(timeout_s=self._body_timeout_s)
            request.environ = environ_of(scope, body)
            request.environ[ID_KEY] = request.id
            name = request.lane = lane_of(scope["method"], scope["path"])
            lane = self._lanes[name]
            place = await lane.enter(client)
            work: Callable[[], Answer] = partial(call, self._application, request.environ)
            if name is LaneName.CANCEL:
                work = reserved_connection()(work)
            try:
                answer = await lane.run(work, place)
                if answer.rest:
                    run = partial(lane.run, place=place)
                    await _send_chunks(request.send, answer, answer.rest, client, run)
            finally:
                lane.leave(place)
            if not answer.rest:
                await _send(request.send, answer.status, answer.headers, answer.body)

    @contextmanager
    def _room_for(self, length: int) -> Iterator[None]:
        """Bound the memory for large bodies; no cancel has one. Raises `LaneFull`."""
        large = length if LARGE_BODY_BYTES < length <= MAX_BODY_BYTES else 0
        if large and self._large_body_bytes + large > MAX_LARGE_BODIES_BYTES:
            raise LaneFull
        self._large_body_bytes += large
        try:
            yield
        finally:
            self._large_body_bytes -= large


async def _send_chunks(
    send: Send, answer: Answer, rest: Rest, client: Client, run: Callable[..., Awaitable[Any]]
) -> None:
    """Send an answer as fast as its client reads; no thread waits for that."""
    try:
        await send(
            {"type": "http.response.start", "status": answer.status, "headers": answer.headers}
        )
        while (chunk := await run(rest.next_chunk)) and not client.gone.done():
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    except Exception:
        # Without its last chunk the server breaks the connection off: half an export must not look
        # like a whole one.
        log.exception("answer_interrupted", status=answer.status)
        return
    finally:
        await run(rest.close)
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _refuse(send: Send, status: int, sentence: str, *headers: tuple[bytes, bytes]) -> None:
    await _send(send, status, [*PLAIN_TEXT, *headers], sentence.encode())


async def _send(send: Send, status: int, headers: Headers, body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
