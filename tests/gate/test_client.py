"""A body is read whole, within a deadline, or not at all."""

import asyncio
from typing import Any

import pytest

from killswitch.console import middleware
from killswitch.gate.client import MAX_BODY_BYTES, BodyTooSlow, Client, ClientGone


def read(*messages: dict[str, Any], **headers: bytes) -> bytes:
    """Return what the client reads from these messages, after which the sender sends nothing."""
    left = list(messages)

    async def receive() -> dict[str, Any]:
        if not left:
            await asyncio.sleep(60)
        return left.pop(0)

    names = [(name.replace("_", "-").encode(), value) for name, value in headers.items()]
    return asyncio.run(Client({"headers": names}, receive).body(timeout_s=0.1))


def part(body: bytes, *, more: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


GONE = {"type": "http.disconnect"}


def test_a_body_in_parts() -> None:
    assert read(part(b"ab"), part(b"c"), content_length=b"3") == b"abc"


def test_a_request_without_a_body_is_not_waited_for() -> None:
    assert read() == b""


def test_a_slow_body() -> None:
    with pytest.raises(BodyTooSlow):
        read(part(b"ab"), content_length=b"3")


@pytest.mark.parametrize("end", [GONE, part(b"", more=False)])
def test_a_body_that_is_cut_short(end: dict[str, Any]) -> None:
    with pytest.raises(ClientGone):
        read(part(b"ab"), end, content_length=b"3")


def test_what_django_does_not_read_is_left_unread() -> None:
    assert MAX_BODY_BYTES == middleware.MAX_BODY_BYTES
    assert read(part(b"a"), content_length=str(MAX_BODY_BYTES + 1).encode()) == b""
    assert read(part(b"a"), transfer_encoding=b"chunked") == b""
