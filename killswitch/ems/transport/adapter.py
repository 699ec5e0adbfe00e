"""One HTTP exchange with the EMS and no more: no redirect, cookie, proxy or retry."""

import dataclasses
import logging
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3.exceptions import HeaderParsingError
from urllib3.util.response import assert_header_parsing

from killswitch.ems.foreign_json import bounded_text
from killswitch.ems.transport.call_deadline import CURRENT, CallDeadline, SentAhead
from killswitch.ems.transport.deadline_sockets import PlainPool, TlsPool
from killswitch.ems.transport.tls_alerts import certificate_rejection

_READ_BYTES = 64 * 1024
_LARGE_BODY_BYTES = 4 * 1024 * 1024
_MAX_ERROR_CHARS = 500

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class HttpReply:
    """The answer as it came. Without a `status` there was none, and `error` says why."""

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    complete: bool = False
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class HttpRequest:
    """A request to the host of a `Transport`; the URL is a `prepared_url`."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None = None


class Transport:
    """The connections to one host, shared by all threads of the process.

    It calls the adapter of `requests` directly. A session would merge settings, cookies and proxies
    into each request, and follow redirects: none of that may happen here, and fifty requests at
    once would wait half a millisecond each for it.
    """

    def __init__(
        self, *, tls: ssl.SSLContext | None, headers: Mapping[str, str], pool_size: int
    ) -> None:
        self._headers = {
            "Accept": "application/json",
            "User-Agent": "killswitch",
            "Accept-Encoding": "identity",
            **headers,
        }
        self._adapter = _Adapter(tls=tls, pool_size=pool_size)

    def send(
        self,
        request: HttpRequest,
        *,
        call: CallDeadline,
        max_bytes: int,
        on_large: Callable[[], None] = lambda: None,
    ) -> HttpReply:
        """Send the request under the call's deadline and return the answer; never raises.

        At most `max_bytes` of the body are read. `on_large` is called once, when the body turns
        out to be large; if it raises, the rest is not read.
        """
        token = CURRENT.set(call)
        try:
            with self._adapter.send(self._prepared(request), stream=True) as response:
                reply = HttpReply(status=response.status_code, headers=dict(response.headers))
                if response.status_code < 200:
                    # The final answer may follow. The body is left unread, which closes the
                    # connection, so that the next call cannot take that answer for its own.
                    return dataclasses.replace(reply, error="no final response")
                body, error = _read(response.raw, max_bytes=max_bytes, on_large=on_large)
                error = error or _unreadable_headers(response)
                return dataclasses.replace(reply, body=body, complete=not error, error=error)
        except Exception as error:  # noqa: BLE001 - any failure of a call must be on record
            return HttpReply(error=error_text(error))
        finally:
            CURRENT.reset(token)
            call.notify_sent_or_never()

    def send_ahead(self, request: HttpRequest, *, call: CallDeadline) -> bool:
        """Send the request if a connection is open, or opens at once; never raises.

        Return whether `send` with this call has only the answer left to read.
        """
        token = CURRENT.set(call)
        try:
            call.ahead = self._adapter.send_ahead(self._prepared(request))
        except Exception:
            logger.exception("no request was sent ahead")
        finally:
            CURRENT.reset(token)
        return call.ahead is not None or call.sending

    def _prepared(self, request: HttpRequest) -> requests.PreparedRequest:
        """Return the request for the adapter. `requests` itself would parse the URL each time."""
        prepared = requests.PreparedRequest()
        prepared.method, prepared.url, prepared.body = request.method, request.url, request.body
        headers = {**self._headers, **request.headers}
        if request.body is not None:
            headers["Content-Length"] = str(len(request.body))
        prepared.headers = CaseInsensitiveDict(headers)
        return prepared

    def close(self) -> None:
        self._adapter.close()


def prepared_url(url: str) -> str:
    """Return a URL as it is sent: its host in ASCII, its path quoted.

    Raises `requests.exceptions.InvalidURL`, a ValueError.
    """
    prepared = requests.Request("GET", url).prepare()
    assert prepared.url  # noqa: S101 - preparing raises for a URL that is empty
    return prepared.url


def _unreadable_headers(response: requests.Response) -> str:
    """Return why the headers cannot be relied on, "" if they can.

    The parser stops at the first line that is not a header, and the ones after it are lost: among
    them may be the length of the body, or a sign that it is a page or an old copy.
    """
    original: Any = response.raw._original_response
    try:
        assert_header_parsing(original.msg)
    except HeaderParsingError:
        return "the headers of the response cannot be read"
    length = response.headers.get("Content-Length", "0")
    if not (length.isascii() and length.isdigit()):
        return "the length of the response cannot be read"
    return ""


def _read(
    raw: urllib3.BaseHTTPResponse, *, max_bytes: int, on_large: Callable[[], None]
) -> tuple[bytes, str]:
    """Return at most `max_bytes` of the body, not decompressed, and why it is incomplete or ""."""
    body = bytearray()
    try:
        while chunk := raw.read1(_READ_BYTES, decode_content=False):
            if len(body) <= _LARGE_BODY_BYTES < len(body) + len(chunk):
                on_large()
            body += chunk
            if len(body) > max_bytes:
                return bytes(body[:max_bytes]), f"the response is larger than {max_bytes} bytes"
    except Exception as error:  # noqa: BLE001 - the part that was read is evidence
        return bytes(body), error_text(error)
    return bytes(body), ""


def error_text(error: BaseException) -> str:
    """Return the innermost cause on one line, in words for officers.

    The layers that requests and urllib3 wrap around it add no information. The operating system's
    own message is used where there is one, the name of the class where not.
    """
    for _ in range(10):
        causes = (error.__cause__, getattr(error, "reason", None), *error.args)
        inner = next((cause for cause in causes if isinstance(cause, BaseException)), None)
        if inner is None:
            break
        error = inner
    if rejection := certificate_rejection(error):
        text = rejection
    elif isinstance(error, OSError) and error.strerror:
        text = f"{error.strerror} (error {error.errno})"
    elif isinstance(error, TimeoutError) and str(error):
        text = str(error)  # a sentence of our own
    else:
        text = f"{type(error).__name__}: {error}"
    return bounded_text(text, max_chars=_MAX_ERROR_CHARS)


def tls_context(*, base_url: str, ca_bundle: str, client_cert: str) -> ssl.SSLContext | None:
    """Return a context that verifies the server, or None for a URL without TLS.

    It is to be made once: loading the trusted certificates for every connection is slow. Raises
    OSError when a file cannot be read or is not a certificate.
    """
    if urlsplit(base_url).scheme != "https":
        return None
    context = ssl.create_default_context(cafile=ca_bundle or DEFAULT_CA_BUNDLE_PATH)
    if client_cert:
        # Without a password callback OpenSSL would prompt on the terminal.
        context.load_cert_chain(client_cert, password=lambda: "")
    return context


class _Adapter(HTTPAdapter):
    """All calls go to one host, so there is one pool of connections, looked up once."""

    def __init__(self, *, tls: ssl.SSLContext | None, pool_size: int) -> None:
        self._tls = {"ssl_context": tls} if tls else {}
        self._pool: Any = None
        super().__init__(pool_connections=1, pool_maxsize=pool_size, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": PlainPool, "https": TlsPool}

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        if self._pool is None:
            self._pool = super().get_connection_with_tls_context(*args, **kwargs)
        return self._pool

    def send_ahead(self, request: requests.PreparedRequest) -> SentAhead | None:
        """Send the request over a connection that is open; return None without one."""
        connection = self.get_connection_with_tls_context(request, verify=True).take_open()
        if connection is None:
            return None
        ahead: SentAhead = connection.request_ahead(
            request.method,
            self.request_url(request, None),
            body=request.body,
            headers=request.headers,
            preload_content=False,
            decode_content=False,
        )
        return ahead

    def close(self) -> None:
        super().close()
        self._pool = None

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: Any, cert: Any = None
    ) -> Any:
        host, _ = super().build_connection_pool_key_attributes(request, verify, cert)
        return host, self._tls

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Set up no verification: the context verifies, with its own trusted certificates."""
