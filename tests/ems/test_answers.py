"""The table of the EMS's answers, row by row."""

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from killswitch.ems.answers import (
    MAX_BODY_BYTES,
    CancelAnswer,
    Outcome,
    RetryAdvice,
    no_answer,
    not_delivered,
    parse_retry_after,
    read_cancel,
)
from killswitch.runtime.text import sanitize

ACK, REJ, UNK = Outcome.ACKNOWLEDGED, Outcome.REJECTED, Outcome.UNKNOWN
PAUSE, FEW, ONCE = RetryAdvice.AFTER_PAUSE, RetryAdvice.A_FEW_TIMES, RetryAdvice.ONCE_MORE

TRANSIENT_REASONS = {"EXCHANGE_UNREACHABLE", "EXCHANGE_RESPONSE_TIMEOUT", "OTHER"}
ALL_REASONS = TRANSIENT_REASONS | {
    "ORDER_ID_NOT_FOUND",
    "INVALID_TYPE",
    "METHOD_NOT_SUPPORTED",
    "JSON_ERROR",
}


def read(
    status: int,
    document: object = None,
    *,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
    complete: bool = True,
) -> CancelAnswer:
    return read_cancel(
        exchange_id="KRAKEN",
        http_status=status,
        headers=headers or {},
        body=json.dumps(document).encode() if body is None else body,
        complete=complete,
    )


def ack(**fields: Any) -> dict[str, Any]:
    return {"type": "message", "severity": "INFO", "exchange_id": "KRAKEN", **fields}


@pytest.mark.parametrize(
    ("document", "outcome"),
    [
        (ack(message="Ok"), ACK),
        (ack(type="MESSAGE"), ACK),
        (ack(severity="WARNING"), ACK),
        (ack(severity="info"), ACK),
        (ack(severity=None), ACK),
        ({"type": "message"}, ACK),
        (ack(reject_reason=None), ACK),
        (ack(exchange_id=None), ACK),
        (ack(something_new=[1, 2]), ACK),
        (ack(severity="ERROR"), REJ),
        (ack(severity="error"), REJ),
        (ack(severity="CRITICAL"), UNK),
        (ack(severity=""), UNK),
        (ack(severity=1), UNK),
        (ack(severity="\u0131nfo"), UNK),
        (ack(type="Message"), UNK),
        (ack(type=" message"), UNK),
        (ack(type=["message"]), UNK),
        (ack(type=None), UNK),
        (ack(exchange_id="KRAKEN/JOHN"), UNK),
        (ack(exchange_id="kraken"), UNK),
        (ack(exchange_id=["KRAKEN"]), UNK),
        (ack(exchange_id=""), UNK),
        ({"type": "MESSAGE_REJECT"}, REJ),
        ({"type": "message_reject"}, REJ),
        ({"reject_reason": "OTHER"}, REJ),
        (ack(reject_reason="OTHER"), REJ),
        (ack(reject_reason=""), UNK),
        (ack(reject_reason="none"), UNK),
        (ack(reject_reason=False), UNK),
        (ack(reject_reason=0), UNK),
        (ack(reject_reason={}), UNK),
        (ack(severity="ERROR", reject_reason=""), REJ),
        ({"reject_reason": ""}, UNK),
        (ack(type="MESSAGE_REJECT", reject_reason=None), REJ),
        ({}, UNK),
        ([], UNK),
        ([ack()], UNK),
        (None, UNK),
        (True, UNK),
        ("message", UNK),
        ({"severity": "INFO", "message": "Ok"}, UNK),
    ],
)
def test_a_200_is_read_by_its_body(document: object, outcome: Outcome) -> None:
    assert read(200, document).outcome is outcome


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"  \r\n",
        b"Ok",
        b"<html>Ok</html>",
        b'{"type":"message"',
        b'{"type":"message"}x',
        b'{"type":"message"}{"type":"message"}',
        b'{"type":"message","type":"message"}',
        b'{"type":"MESSAGE_REJECT","type":"message"}',
        b'{"type":"message","message":{"a":1,"a":2}}',
        b'{"type":"message","message":NaN}',
        b'{"type":"message","message":-Infinity}',
        b'{"type":"message","message":1e999}',
        b'{"type":"message","message":' + b"9" * 5000 + b"}",
        b'{"type":"message","message":' + b"[" * 5000 + b"]" * 5000 + b"}",
        b'{"type":"message","message":"\xff"}',
        b'{"type":"message","message":"\xed\xa0\x80"}',
        b'{"type":"message","message":"a\x00b"}',
        '{"type":"message"}'.encode("utf-16"),
        b"\x1f\x8b\x08\x00",
    ],
)
def test_a_200_that_is_not_json_all_readers_understand_alike_is_unknown(body: bytes) -> None:
    answer = read(200, body=body)
    assert (answer.outcome, answer.retry_advice) == (UNK, PAUSE)
    assert answer.may_have_been_carried_out
    assert answer.body == body


@pytest.mark.parametrize(
    "body",
    [
        b'{"type":"MESSAGE_REJECT","reject_reason":"OTHER","message":"Konto gesperrt: M\xfcller"}',
        b'{"type":"MESSAGE_REJECT","reject_reason":"OTHER","price":NaN}',
        b'{"type":"MESSAGE_REJECT","reject_reason":"OTHER","price":-Infinity,"qty":1e999}',
        b'{"type":"MESSAGE_REJECT","reject_reason":"OTHER","price":' + b"9" * 5000 + b"}",
        b'{"type":"MESSAGE_REJECT","reject_reason":"OTHER","message":"a\x00b\tc"}',
        b'{"type":"MESSAGE_REJECT","reject_reason":"OTHER","message":"a","message":"b"}',
        b'{"type":"MESSAGE_REJECT","reject_reason":"OTHER"}\x00',
        b'{"type":"message","severity":"ERROR","reject_reason":"OTHER","message":"\xff"}',
    ],
)
def test_a_refusal_with_a_small_defect_is_a_refusal_with_its_reason(body: bytes) -> None:
    answer = read(200, body=body)
    assert (answer.outcome, answer.reject_reason) == (REJ, "OTHER")
    assert answer.body == body
    answer.message.encode()


@pytest.mark.parametrize(
    "body",
    [
        b'{"type":"MESSAGE_REJECT","reject_reason":"OTHER",'
        b'"reject_reason":"EXCHANGE_RESPONSE_TIMEOUT"}',
        b'{"type":"message","type":"MESSAGE_REJECT","reject_reason":"OTHER"}',
        b'{"type":"message","severity":"INFO","severity":"ERROR"}',
    ],
)
def test_a_200_that_contradicts_itself_is_unknown(body: bytes) -> None:
    assert read(200, body=body).outcome is UNK


def test_a_byte_order_mark_is_tolerated() -> None:
    assert read(200, body=b"\xef\xbb\xbf" + b'{"type":"message"}').outcome is ACK


@pytest.mark.parametrize("document", [ack(), {"type": "MESSAGE_REJECT", "reject_reason": "OTHER"}])
def test_a_200_cut_short_is_unknown_even_if_what_came_looks_whole(document: object) -> None:
    answer = read(200, document, complete=False)
    assert answer.outcome is UNK
    assert not answer.body_complete


def test_an_oversized_200_is_unknown_and_its_body_is_cut() -> None:
    answer = read(200, body=b'{"type":"message"}' + b" " * MAX_BODY_BYTES)
    assert answer.outcome is UNK
    assert len(answer.body) == MAX_BODY_BYTES
    assert not answer.body_complete


@pytest.mark.parametrize("reason", sorted(ALL_REASONS | {"A_FUTURE_ONE"}))
@pytest.mark.parametrize("status", [200, 504])
def test_a_refusal_keeps_its_reason_which_decides_whether_it_is_retried(
    status: int, reason: str
) -> None:
    document = {"type": "MESSAGE_REJECT", "reject_reason": reason, "message": "m"}
    answer = read(status, {**document, "rejected_message": "r"})
    assert answer.outcome is REJ
    assert (answer.reject_reason, answer.message, answer.rejected_message) == (reason, "m", "r")
    assert answer.retry_advice is (PAUSE if reason in TRANSIENT_REASONS else FEW)
    assert answer.may_have_been_carried_out is (reason == "EXCHANGE_RESPONSE_TIMEOUT")


def test_a_refusal_without_a_reason_is_repeated_a_few_times() -> None:
    answer = read(200, {"type": "MESSAGE_REJECT"})
    assert (answer.outcome, answer.retry_advice, answer.reject_reason) == (REJ, FEW, "")
    assert not answer.may_have_been_carried_out


def test_a_504_with_a_reject_message_without_reason_may_have_been_carried_out() -> None:
    answer = read(504, {"type": "MESSAGE_REJECT"})
    assert (answer.outcome, answer.retry_advice) == (REJ, PAUSE)
    assert answer.may_have_been_carried_out


@pytest.mark.parametrize(
    "body", [b"", b"<h1>504</h1>", b'{"type":"message"}', b'{"message":"upstream timed out"}']
)
def test_any_other_504_comes_from_a_proxy_and_is_unknown(body: bytes) -> None:
    answer = read(504, body=body)
    assert (answer.outcome, answer.may_have_been_carried_out) == (UNK, True)


def test_a_504_cut_short_is_unknown() -> None:
    assert read(504, {"type": "MESSAGE_REJECT"}, complete=False).outcome is UNK


@pytest.mark.parametrize("complete", [True, False])
@pytest.mark.parametrize("body", [b"", b"<html>", b'{"type":"message"}', b"\xff\x00", b"null"])
def test_a_490_is_refused_and_retried_with_any_body(body: bytes, complete: bool) -> None:
    answer = read(490, body=body, complete=complete)
    assert (answer.outcome, answer.retry_advice, answer.reject_reason) == (REJ, PAUSE, "")
    assert not answer.may_have_been_carried_out


@pytest.mark.parametrize("reason", sorted(ALL_REASONS))
def test_a_490_keeps_the_reason_of_its_body(reason: str) -> None:
    answer = read(490, {"reject_reason": reason})
    assert (answer.outcome, answer.retry_advice, answer.reject_reason) == (REJ, PAUSE, reason)
    assert answer.may_have_been_carried_out is (reason == "EXCHANGE_RESPONSE_TIMEOUT")


@pytest.mark.parametrize(
    ("errors", "message"),
    [
        ("bad id", "One or more errors: bad id"),
        ({"exchange_id": ["is required"]}, 'One or more errors: {"exchange_id": ["is required"]}'),
        (None, "One or more errors"),
    ],
)
def test_a_400_keeps_title_errors_and_trace_id(errors: object, message: str) -> None:
    answer = read(400, {"title": "One or more errors", "errors": errors, "traceId": "00-ab-1"})
    assert (answer.outcome, answer.retry_advice) == (REJ, FEW)
    assert (answer.message, answer.trace_id) == (message, "00-ab-1")


@pytest.mark.parametrize("status", [400, 404, 409, 422, 500, 503])
def test_the_detail_of_problem_details_is_kept_with_every_status(status: int) -> None:
    document = {"title": "Conflict", "detail": "Session BFX-2 is logging on", "status": status}
    assert read(status, document).message == "Conflict: Session BFX-2 is logging on"


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("field", ["error", "message"])
def test_a_wrong_key_is_refused_in_the_emss_words(status: int, field: str) -> None:
    answer = read(status, {field: "Invalid API key"})
    assert (answer.outcome, answer.retry_advice) == (REJ, ONCE)
    assert answer.message == "Invalid API key"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"Invalid API key", "Invalid API key"),
        (b'"Invalid API key"', "Invalid API key"),
        (b'{"Message":"User is not authorized"}', "User is not authorized"),
        (b'{"msg":"no"}', "no"),
        (b'{"error":"invalid_token","error_description":"expired"}', "invalid_token"),
        (b'{"fault":{"faultstring":"Invalid ApiKey"}}', "Invalid ApiKey"),
        (b'{"type":"a","type":"b","title":"No","detail":"such id"}', "No: such id"),
        (b"<html>403</html>", ""),
        (b"x" * 501, ""),
        (b"\x00\x01", ""),
    ],
)
@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refusal_keeps_the_words_of_gateways(status: int, body: bytes, message: str) -> None:
    assert read(status, body=body).message == message


@pytest.mark.parametrize("status", [400, 402, 404, 405, 408, 409, 413, 418, 421, 422, 425, 499])
def test_any_other_4xx_is_a_refusal_of_the_request_also_when_cut_short(status: int) -> None:
    answer = read(status, body=b'{"mess', complete=False)
    assert (answer.outcome, answer.retry_advice, answer.message) == (REJ, FEW, "")
    assert (answer.body, answer.body_complete) == (b'{"mess', False)


def test_a_late_exchange_named_in_a_4xx_may_still_have_carried_it_out() -> None:
    answer = read(400, {"reject_reason": "exchange_response_timeout"})
    assert answer.outcome is REJ
    assert answer.may_have_been_carried_out
    assert answer.retry_advice is PAUSE


def test_a_429_is_retried_after_the_pause_it_requests() -> None:
    answer = read(429, {"error": "slow down"}, headers={"retry-after": "7"})
    assert (answer.outcome, answer.retry_advice, answer.retry_after) == (REJ, PAUSE, 7.0)
    assert answer.message == "slow down"


def test_only_a_429_has_a_pause() -> None:
    assert read(503, {}, headers={"Retry-After": "7"}).retry_after is None


@pytest.mark.parametrize(
    "status", [100, 101, 103, 201, 202, 204, 206, 299, 301, 302, 307, 308, 500, 502, 503, 599, 777]
)
@pytest.mark.parametrize("document", [ack(), {"type": "MESSAGE_REJECT", "reject_reason": "OTHER"}])
def test_every_other_status_is_unknown_with_any_body(status: int, document: object) -> None:
    answer = read(status, document)
    assert (answer.outcome, answer.retry_advice) == (UNK, PAUSE)
    assert answer.may_have_been_carried_out


def test_texts_that_are_not_strings_are_kept_as_their_json() -> None:
    answer = read(200, {"reject_reason": 5, "message": {"a": [1.5, None]}, "traceId": True})
    assert answer.reject_reason == "5"
    assert answer.message == '{"a": [1.5, null]}'
    assert answer.trace_id == "true"


def test_texts_are_storable_and_bounded() -> None:
    body = b'{"reject_reason":"a\\u0000b\\ud800","message":"' + b"x" * 9000 + b'"}'
    answer = read(200, body=body)
    assert answer.reject_reason == "a\\u0000b\\ud800"
    assert len(answer.message) == 4000
    assert answer.message.endswith("(truncated)")
    assert sanitize(answer.reject_reason) == answer.reject_reason


def test_texts_nested_nearly_too_deep_are_marked_and_raise_no_error() -> None:
    for depth in (500, 900, 960, 990):
        body = b'{"reject_reason":' + b"[" * depth + b"]" * depth + b"}"
        assert read(490, body=body).outcome is REJ


def test_a_call_that_was_not_delivered_is_retried_and_was_not_carried_out() -> None:
    answer = not_delivered("refused\x00")
    assert (answer.outcome, answer.retry_advice) == (Outcome.NOT_DELIVERED, PAUSE)
    assert not answer.may_have_been_carried_out
    assert answer.transport_error == "refused\\u0000"


@pytest.mark.parametrize(("at_once", "retry_advice"), [(True, RetryAdvice.AT_ONCE), (False, PAUSE)])
def test_a_lost_answer_is_unknown(at_once: bool, retry_advice: RetryAdvice) -> None:
    answer = no_answer("reset", at_once=at_once)
    assert (answer.outcome, answer.retry_advice) == (UNK, retry_advice)
    assert answer.may_have_been_carried_out
    assert (answer.transport_error, answer.message) == ("reset", "")


class TestRetryAfter:
    @pytest.mark.parametrize(
        ("value", "seconds"), [("0", 0.0), ("120", 120.0), (" 3 ", 3.0), ("1.5", 1.5)]
    )
    def test_seconds_are_seconds(self, value: str, seconds: float) -> None:
        assert parse_retry_after({"RETRY-AFTER": value}) == seconds

    def test_a_date_is_the_time_until_then(self) -> None:
        date = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
        seconds = parse_retry_after({"Retry-After": date})
        assert seconds is not None
        assert 57 < seconds <= 60

    @pytest.mark.parametrize(
        "value",
        ["", "-1", "soon", "1e9", "NaN", "inf", "٣", "0x10", "1, 2", "9" * 500, "Wed, 99 Foo 2020"],
    )
    def test_an_invalid_value_is_ignored(self, value: str) -> None:
        assert parse_retry_after({"Retry-After": value}) is None

    def test_a_date_that_has_passed_is_ignored(self) -> None:
        assert parse_retry_after({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}) is None

    @settings(deadline=None)
    @given(st.text(max_size=60) | st.from_regex(r"\w{3}, \d+ \w{3} \d+ \d+:\d+:\d+ [+-]?\w+"))
    def test_no_value_raises(self, value: str) -> None:
        seconds = parse_retry_after({"Retry-After": value})
        assert seconds is None or 0 <= seconds < float("inf")
