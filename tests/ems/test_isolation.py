"""Only the EMS is called, and only the request itself is sent."""

from pathlib import Path

import pytest

from killswitch.ems.answers import Outcome
from tests.ems.conftest import ClientFactory
from tests.ems.servers import ACKNOWLEDGED, answering, response, serving


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
def test_a_redirect_is_unknown_and_the_other_host_sees_nothing(
    status: int, client_for: ClientFactory
) -> None:
    with serving(answering(response(200, ACKNOWLEDGED))) as other:
        redirect = response(status, b"moved", f"Location: {other.url}/v1/orders/cancel/all")
        with serving(answering(redirect)) as server:
            client = client_for(server.url, api_key="a-secret-key")
            answer = client.cancel_all("KRAKEN")
            assert not client.open_orders("KRAKEN").readable
        assert (answer.outcome, answer.http_status) == (Outcome.UNKNOWN, status)
        assert (answer.body, answer.transport_error) == (b"moved", "")
        assert len(server.requests) == 2
        assert (other.accepted, other.requests) == (0, [])


@pytest.mark.parametrize("location", ["http://[", "//", "javascript:x", "http://\xff\xfe", ""])
def test_an_invalid_redirect_is_an_answer_like_any_other(
    location: str, client_for: ClientFactory
) -> None:
    head = f"HTTP/1.1 302 X\r\nContent-Length: 0\r\nLocation: {location}\r\n\r\n".encode("latin-1")
    with serving(answering(head)) as server:
        answer = client_for(server.url).cancel_all("KRAKEN")
    assert (answer.http_status, answer.transport_error) == (302, "")


def test_a_cookie_is_neither_kept_nor_sent(client_for: ClientFactory) -> None:
    cookies = ["Set-Cookie: session=evil; Path=/", "Set-Cookie: a=b", "Set-Cookie2: c=d"]
    with serving(answering(response(200, ACKNOWLEDGED, *cookies))) as server:
        client = client_for(server.url)
        for _ in range(3):
            assert client.cancel_all("KRAKEN").outcome is Outcome.ACKNOWLEDGED
    assert len(server.requests) == 3
    assert all(b"cookie" not in request.lower() for request in server.requests)


def test_netrc_and_proxy_variables_are_ignored(
    client_for: ClientFactory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login officer password word\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "missing"))
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with serving(answering(response(500))) as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        with serving(answering(response(200, ACKNOWLEDGED))) as server:
            answer = client_for(server.url).cancel_all("KRAKEN")
    assert answer.outcome is Outcome.ACKNOWLEDGED
    assert proxy.accepted == 0
    assert b"authorization" not in server.requests[0].lower()
