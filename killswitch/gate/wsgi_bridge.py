"""Calls a WSGI application with a request that the ASGI server has received."""

import io
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

from structlog.contextvars import bound_contextvars

from killswitch.runtime.http import ID_KEY

Environ = dict[str, Any]
WsgiApplication = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The answer of the application: all of it, or its beginning and where the rest comes from."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes = b""
    rest: "Rest | None" = None


class Rest:
    """The chunks of an answer that is streamed; each may be read in another thread."""

    def __init__(self, result: Iterable[bytes]) -> None:
        self._chunks = iter(result)
        self.close: Callable[[], None] = getattr(result, "close", lambda: None)

    def next_chunk(self) -> bytes:
        """Return the next chunk, an empty one after the last."""
        return next((chunk for chunk in self._chunks if chunk), b"")


def call(application: WsgiApplication, environ: Environ) -> Answer:
    """Return the answer of the application, to its end unless Django streams it."""
    started: list[tuple[str, list[tuple[str, str]]]] = []

    def start_response(status: str, headers: list[tuple[str, str]], *_: object) -> None:
        started.append((status, headers))

    with bound_contextvars(http_request=environ.get(ID_KEY, "")):
        result = application(environ, start_response)
    rest = Rest(result)
    is_streamed = getattr(result, "streaming", False)
    try:
        body = b"" if is_streamed else b"".join(result)
        status, headers = started[-1]
    except BaseException:
        is_streamed = False
        raise
    finally:
        if not is_streamed:
            rest.close()
    return Answer(
        status=int(status.partition(" ")[0]),
        headers=[(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers],
        body=body,
        rest=rest if is_streamed else None,
    )


def environ_of(scope: dict[str, Any], body: bytes) -> Environ:
    """Return the WSGI environment of a request.

    A header whose name has an underscore is left out, because a client could replace the one with a
    hyphen by it, such as X-Forwarded-For. Values that are not ASCII are empty.
    """
    environ: Environ = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(scope["raw_path"]).decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": scope["server"][0],
        "SERVER_PORT": str(scope["server"][1]),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "REMOTE_ADDR": scope["client"][0] if scope["client"] else "",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for name, value in scope["headers"]:
        if b"_" in name:
            continue
        key = name.decode("latin-1").upper().replace("-", "_")
        text = value.decode("ascii") if value.isascii() else ""
        if key in {"CONTENT_TYPE", "CONTENT_LENGTH"}:
            environ.setdefault(key, text)
            continue
        key = f"HTTP_{key}"
        separator = ";" if key == "HTTP_COOKIE" else ","
        environ[key] = f"{environ[key]}{separator}{text}" if key in environ else text
    return environ
