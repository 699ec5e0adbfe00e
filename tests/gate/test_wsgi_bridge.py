"""What Django sees of a request is what its own web server interface would give it."""

from collections.abc import Iterator
from typing import Any

import pytest

from killswitch.gate.wsgi_bridge import call, environ_of


def scope(path: bytes = b"/", **headers: bytes) -> dict[str, Any]:
    names = {name.replace("_", "-").encode(): value for name, value in headers.items()}
    return {
        "method": "POST",
        "raw_path": path,
        "query_string": b"a=%41&b",
        "server": ("127.0.0.1", "8000"),
        "client": ("192.0.2.1", "54321"),
        "http_version": "1.1",
        "scheme": "http",
        "headers": list(names.items()),
    }


def test_address_method_and_body() -> None:
    environ = environ_of(scope(b"/caf%C3%A9/a%2Fb", content_length=b"2", content_type=b"x"), b"ab")
    expected = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/caf\xc3\xa9/a/b",
        "QUERY_STRING": "a=%41&b",
        "REMOTE_ADDR": "192.0.2.1",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "CONTENT_LENGTH": "2",
        "CONTENT_TYPE": "x",
    }
    assert environ | expected == environ
    assert environ["wsgi.input"].read() == b"ab"


def test_a_header_with_an_underscore_cannot_replace_the_real_one() -> None:
    request = scope()
    request["headers"] = [(b"x-forwarded-for", b"192.0.2.7"), (b"x_forwarded_for", b"203.0.113.9")]
    environ = environ_of(request, b"")
    assert environ["HTTP_X_FORWARDED_FOR"] == "192.0.2.7"


def test_repeated_headers_are_joined_and_foreign_bytes_dropped() -> None:
    request = scope()
    request["headers"] = [
        (b"x-forwarded-for", b"192.0.2.1"),
        (b"x-forwarded-for", b"192.0.2.2"),
        (b"cookie", b"a=1"),
        (b"cookie", b"b=2"),
        (b"user-agent", b"\xff"),
    ]
    environ = environ_of(request, b"")
    assert environ["HTTP_X_FORWARDED_FOR"] == "192.0.2.1,192.0.2.2"
    assert environ["HTTP_COOKIE"] == "a=1;b=2"
    assert environ["HTTP_USER_AGENT"] == ""


def test_variables_of_this_process_are_not_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_X_FORWARDED_FOR", "192.0.2.1")
    assert "HTTP_X_FORWARDED_FOR" not in environ_of(scope(), b"")


class Result:
    """What an application returns."""

    def __init__(self, *, streaming: bool = False, fails: bool = False) -> None:
        self.streaming, self.fails = streaming, fails
        self.closed = 0

    def __iter__(self) -> Iterator[bytes]:
        yield b"one"
        yield b""
        if self.fails:
            raise RuntimeError
        yield b"two"

    def close(self) -> None:
        self.closed += 1


def answer_with(result: Result) -> Any:
    def application(_environ: Any, start_response: Any) -> Result:
        start_response("201 Created", [("X-A", "\xe4")])
        return result

    return call(application, environ_of(scope(), b""))


def test_a_whole_answer_is_read_and_closed() -> None:
    result = Result()
    answer = answer_with(result)
    assert (answer.status, answer.headers, answer.body) == (201, [(b"X-A", b"\xe4")], b"onetwo")
    assert answer.rest is None
    assert result.closed == 1


def test_a_streamed_answer_is_read_chunk_by_chunk() -> None:
    result = Result(streaming=True)
    answer = answer_with(result)
    assert answer.body == b""
    assert [answer.rest.next_chunk() for _ in range(3)] == [b"one", b"two", b""]
    assert result.closed == 0
    answer.rest.close()
    assert result.closed == 1


def test_an_answer_that_fails_is_closed() -> None:
    result = Result(fails=True)
    with pytest.raises(RuntimeError):
        answer_with(result)
    assert result.closed == 1
