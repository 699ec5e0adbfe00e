"""What an answer to the list of open orders shows of the place that a cancel would go to."""

import gzip
import json
from datetime import UTC, datetime

import pytest
from django.test import Client

from killswitch.ems.client import MAX_LIST_BYTES, EmsClient
from killswitch.ems.open_orders import TimedOpenOrders
from killswitch.observer.open_orders import record_probe
from killswitch.readiness import health_checks, views
from killswitch.readiness.judgement import Check, Level
from tests.ems.servers import Connection, Script, answering, never_answering, response, serving

pytestmark = pytest.mark.django_db  # what is judged is the answer, so one database will do

ORDER = {"exchange_id": "KRAKEN", "client_order_id": "c1", "status": "NEW", "avg_px": 1.5}
PAGE = b"<!DOCTYPE html><html><head><title>Welcome</title></head></html>"
REJECT = b'{"type":"MESSAGE_REJECT","reject_reason":"EXCHANGE_UNREACHABLE","message":"down"}'
UNREADABLE = "reachable; its list of open orders cannot be read"
NOT_AN_EMS = "EMS_BASE_URL does not seem to be the address of an EMS"


def probe(script: Script, *, timeout: float = 5) -> Check:
    """Read the open orders of a server that behaves like this, and return the check."""
    with serving(script) as server:
        client = EmsClient(base_url=server.url, connect_timeout=1, timeout=timeout)
        record_probe(client.open_orders())
        client.close()
    (check,) = [check for check in health_checks.evaluate().checks if check.name == "ems"]
    return check


def probe_body(body: bytes, *headers: str, status: int = 200) -> Check:
    return probe(answering(response(status, body, *headers)))


def listed(*rows: object) -> bytes:
    return json.dumps(rows).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"\xef\xbb\xbf [ ] ",
        listed(ORDER),
        listed({"exchange_id": "KRAKEN", "data": []}),
        listed(ORDER).replace(b"1.5", b"NaN"),
        listed(ORDER).replace(b"c1", b"c\xff"),
    ],
)
def test_a_list_of_orders_passes(body: bytes) -> None:
    check = probe_body(body)
    assert (check.ok, check.detail) == (True, "reachable, API key accepted")


@pytest.mark.parametrize(
    "body",
    [
        listed(ORDER | {"exchange_id": None}),
        listed(ORDER | {"exchange_id": 5}),
        listed(5, ORDER),
        listed(ORDER, "odd"),
        listed({"type": "MESSAGE_REJECT", "reject_reason": "OTHER"}),
        listed(ORDER).replace(b'"status"', b'"exchange_id": "X", "status"'),
        listed(ORDER, ORDER).replace(b"1.5", b"01", 1),
        listed(*[ORDER] * 1000, 5),
    ],
)
def test_a_list_with_odd_rows_passes_too(body: bytes) -> None:
    check = probe_body(body)
    assert (check.ok, check.detail) == (True, UNREADABLE)


@pytest.mark.parametrize("header", ['Link: <?page=2>; rel="next"', "X-Total-Count: 120"])
def test_one_page_of_a_longer_list_passes_too(header: str) -> None:
    check = probe_body(listed(ORDER), header)
    assert (check.ok, check.detail) == (True, UNREADABLE)


def test_more_orders_than_can_be_read_pass_too() -> None:
    """A runaway algorithm is when the screen must not say that a cancel does not work."""
    check = probe_body(b"[" + listed(ORDER)[1:-1] + b"," + b" " * MAX_LIST_BYTES)
    assert (check.ok, check.detail) == (True, UNREADABLE)


def test_an_ems_that_cannot_reach_an_exchange_passes_with_its_reject() -> None:
    check = probe_body(REJECT, status=490)
    assert (check.ok, check.detail) == (True, UNREADABLE)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        *((status, NOT_AN_EMS) for status in (300, 301, 302, 304, 307, 308, 399, 404, 405)),
        (400, "it rejects our requests as invalid (400)"),
        (401, "the API key was rejected"),
        (403, "the API key was rejected"),
        (429, "it limits our requests (429)"),
        *((status, f"the server returned {status}") for status in (500, 501, 505, 511, 599)),
        *(
            (status, f"the proxy in front returned {status}")
            for status in (407, 502, 504, 520, 530)
        ),
        (503, "the server, or a proxy in front of it, returned 503"),
        *(
            (status, f"it returned {status} instead of a list of orders")
            for status in (201, 202, 204, 206, 402, 406, 408, 409, 410, 418, 422, 451, 490, 499)
        ),
    ],
)
def test_every_other_status_is_named_and_fails(status: int, words: str) -> None:
    has_body = status not in {204, 304}
    for body in (b"", b"{}", b"[]", b'{"error":"their words"}') if has_body else (b"",):
        check = probe_body(body, status=status)
        assert not check.ok, body
        assert check.detail.startswith(words), body
        assert str(status) in check.detail, body
        assert ("their words" in check.detail) == (b"their words" in body)


@pytest.mark.parametrize("status", [200, 402, 490])
@pytest.mark.parametrize("page", [PAGE, b"\n <html>", b"<!-- proxy --><p>", b"\xef\xbb\xbf<HTML>"])
def test_a_web_page_is_named_and_fails(status: int, page: bytes) -> None:
    check = probe_body(page, "Content-Type: application/json", status=status)
    assert not check.ok
    assert "a web page (HTML) was returned instead of the EMS's response" in check.detail


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b" ", b"null", b"true", b"17", b"{}", b"ok\n", b"[", b"[[", b"[5]", b'["down"]'),
        *(b'{"orders":[]}', b'[{"error":"bad gateway"}]', b"[{}]", REJECT, b"\x00" * 3000),
        gzip.compress(b"[]", mtime=0),
    ],
)
def test_anything_else_that_answers_200_fails(body: bytes) -> None:
    check = probe_body(body)
    assert not check.ok
    assert check.detail.startswith("the response does not look like an EMS's: ")


@pytest.mark.parametrize("header", ["Age: 5", "X-Cache: HIT"])
def test_a_list_from_a_cache_does_not_show_that_the_ems_answers(header: str) -> None:
    check = probe_body(listed(ORDER), header)
    assert not check.ok
    assert check.detail == (
        f"it is not certain that the EMS itself responded: the response came from a cache"
        f" ({header})"
    )


def cut_off(connection: Connection) -> None:
    connection.read_request()
    connection.send(response(200, listed(*[ORDER] * 100))[:2000])
    connection.reset()


def cut_off_without_a_length(connection: Connection) -> None:
    connection.read_request()
    connection.send(b"HTTP/1.0 200 OK\r\n\r\n" + listed(*[ORDER] * 100)[:2000])


def too_slow(connection: Connection) -> None:
    connection.read_request()
    connection.send(response(200, listed(*[ORDER] * 100))[:2000])
    connection.stay_silent()


@pytest.mark.parametrize("script", [cut_off, cut_off_without_a_length, too_slow])
def test_a_list_that_breaks_off_does_not_show_that_the_ems_answers(script: Script) -> None:
    check = probe(script, timeout=0.5)
    assert not check.ok
    assert check.detail.startswith("it is not certain that the EMS itself responded: ")


@pytest.mark.parametrize("script", [never_answering, Connection.reset, lambda _connection: None])
def test_no_answer_fails_with_the_reason(script: Script) -> None:
    check = probe(script, timeout=0.5)
    assert not check.ok
    assert check.detail


@pytest.mark.both_databases
@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("all_is_well")
def test_machines_are_told_not_ready_in_our_own_words() -> None:
    probe_body(b'{"error":"account JOHN"}', status=502)
    readiness = health_checks.evaluate()
    assert readiness.word is Level.NOT_READY
    assert "EMS: the proxy in front returned 502: HTTP 502 (account JOHN)" in readiness.sentence
    views.READINESS.forget()
    answer = Client().get("/readyz")
    assert (answer.status_code, answer.json()["word"]) == (503, "NOT_READY")
    assert "JOHN" not in answer.content.decode()
    assert b'killswitch_check_ok{check="ems"} 0.0' in Client().get("/metrics").content


def answered(status: int | None) -> TimedOpenOrders:
    now = datetime.now(UTC)
    return TimedOpenOrders(
        readable=status == 200,
        error="" if status == 200 else f"HTTP {status}",
        is_from_ems=status == 200,
        http_status=status,
        started_at=now,
        finished_at=now,
        duration_ms=1.0,
    )


@pytest.mark.both_databases
def test_the_next_good_answer_makes_it_ready_again() -> None:
    for status, ok in ((200, True), (502, False), (200, True)):
        record_probe(answered(status))
        (check,) = [check for check in health_checks.evaluate().checks if check.name == "ems"]
        assert check.ok is ok
