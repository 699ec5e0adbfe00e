"""One HTTP exchange with the EMS and nothing beside it: no redirect, cookie, proxy or retry."""

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH

from killswitch.ems.call_deadline import CURRENT, CallDeadline
from killswitch.ems.deadline_sockets import PlainPool, TlsPool
from killswitch.ems.foreign_text import truncate

_PIECE = 64 * 1024
_LONG = 4 * 1024 * 1024
_ERROR_LIMIT = 500


@dataclass(frozen=True, kw_only=True)
class HttpReply:
    """What came back. No `status`: no answer, and `error` says why."""

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    complete: bool = False
    error: str = ""


class Transport:
    """One session shared by all threads of the process."""

    def __init__(self, *, tls: ssl.SSLContext | None, headers: Mapping[str, str], pool_size: int):
        self._session = _Session()
        self._session.trust_env = False  # or .netrc and proxy variables would have a say
        refuse_all = DefaultCookiePolicy(netscape=False, rfc2965=False, allowed_domains=[])
        self._session.cookies.set_policy(refuse_all)
        self._session.headers.clear()
        self._session.headers.update({"Accept": "application/json", "User-Agent": "killswitch"})
        self._session.headers.update({"Accept-Encoding": "identity", **headers})
        adapter = _Adapter(tls=tls, pool_size=pool_size)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)

    def call(
        self,
        request: requests.Request,
        *,
        call: CallDeadline,
        limit: int,
        on_long: Callable[[], None] = lambda: None,
    ) -> HttpReply:
        """Send it under the call's deadline, read at most `limit` bytes; never raises.

        `on_long` is called once when the answer turns out to be a long one; when it raises, the
        answer is not read on.
        """
        token = CURRENT.set(call)
        try:
            return self._ask(request, limit=limit, on_long=on_long)
        except Exception as error:  # noqa: BLE001 - whatever it was, it must end up on record
            return HttpReply(error=describe(error))
        finally:
            CURRENT.reset(token)
            call.notify_sent_or_never()

    def close(self) -> None:
        self._session.close()

    def _ask(
        self, request: requests.Request, *, limit: int, on_long: Callable[[], None]
    ) -> HttpReply:
        prepared = self._session.prepare_request(request)
        response = self._session.send(prepared, stream=True, allow_redirects=False)
        with response:
            status, headers = response.status_code, dict(response.headers)
            if status < 200:
                # The real answer may follow; leaving unread closes the connection, so that the
                # next call cannot take it for its own.
                return HttpReply(status=status, headers=headers, error="no final answer")
            body, error = _read(response.raw, limit=limit, on_long=on_long)
        return HttpReply(status=status, headers=headers, body=body, complete=not error, error=error)


def _read(
    raw: urllib3.BaseHTTPResponse, *, limit: int, on_long: Callable[[], None]
) -> tuple[bytes, str]:
    """At most `limit` bytes, never decompressed, and what kept them from being all."""
    body = bytearray()
    try:
        while piece := raw.read1(_PIECE, decode_content=False):
            if len(body) <= _LONG < len(body) + len(piece):
                on_long()
            body += piece
            if len(body) > limit:
                return bytes(body[:limit]), f"the answer is larger than {limit} bytes"
    except Exception as error:  # noqa: BLE001 - what came before it is evidence
        return bytes(body), describe(error)
    return bytes(body), ""


def describe(error: BaseException) -> str:
    """The innermost cause in one line; what requests and urllib3 wrap around it says nothing."""
    for _ in range(10):
        causes = (error.__cause__, getattr(error, "reason", None), *error.args)
        inner = next((cause for cause in causes if isinstance(cause, BaseException)), None)
        if inner is None:
            break
        error = inner
    return truncate(_words(error), limit=_ERROR_LIMIT)


def _words(error: BaseException) -> str:
    """Officers read it: the system's own words where there are some, a class name where not."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror} (error {error.errno})"
    if isinstance(error, TimeoutError) and str(error):
        return str(error)  # ours, and a sentence
    return f"{type(error).__name__}: {error}"


def tls_context(*, base_url: str, ca_bundle: str, client_cert: str) -> ssl.SSLContext | None:
    """Verifying, and built once: loading the trusted certificates for every connection is slow.

    Raises OSError when a file cannot be read or is no certificate.
    """
    if urlsplit(base_url).scheme != "https":
        return None
    context = ssl.create_default_context(cafile=ca_bundle or DEFAULT_CA_BUNDLE_PATH)
    if client_cert:
        # A password callback, or OpenSSL would ask for one on the terminal.
        context.load_cert_chain(client_cert, password=lambda: "")
    return context


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> None:
        """None at all: even unfollowed, requests would read a redirect's body without a limit."""


class _Adapter(HTTPAdapter):
    def __init__(self, *, tls: ssl.SSLContext | None, pool_size: int) -> None:
        self._tls = {"ssl_context": tls} if tls else {}
        super().__init__(pool_connections=1, pool_maxsize=pool_size, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": PlainPool, "https": TlsPool}

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: Any, cert: Any = None
    ) -> Any:
        host, _ = super().build_connection_pool_key_attributes(request, verify, cert)
        return host, self._tls

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Nothing to set: the context verifies, and knows whom to trust."""
