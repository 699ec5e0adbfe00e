"""No bytes of any kind raise, and none but a documented acknowledgement acknowledges."""

import json
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from killswitch.ems.answers import MAX_BODY_BYTES, CancelAnswer, Outcome, RetryAdvice, read_cancel
from killswitch.ems.foreign_json import MAX_TEXT_CHARS

KEYS = st.sampled_from(
    ["type", "severity", "reject_reason", "exchange_id", "message", "title", "errors", "traceId"]
)
VALUES = st.one_of(
    st.sampled_from(["message", "MESSAGE", "MESSAGE_REJECT", "Message", "INFO", "ERROR", "info"]),
    st.sampled_from(["WARNING", "KRAKEN", "KRAKEN/JOHN", "OTHER", "EXCHANGE_RESPONSE_TIMEOUT", ""]),
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.lists(st.text(max_size=3), max_size=3),
)
LIKELY = st.fixed_dictionaries(
    {"type": st.sampled_from(["message", "MESSAGE", "MESSAGE_REJECT"])},
    optional={"severity": st.sampled_from(["INFO", "warning", "ERROR", "x", None])},
)
PAIRS = st.lists(st.tuples(KEYS, VALUES), max_size=6)


def _object(pairs: list[tuple[str, Any]]) -> bytes:
    inside = ",".join(f"{json.dumps(key)}:{json.dumps(value)}" for key, value in pairs)
    return ("{" + inside + "}").encode()


@st.composite
def _documents(draw: st.DrawFn) -> bytes:
    """Objects near the documented shapes, some with keys twice, some damaged in one place."""
    pairs = list(draw(LIKELY).items()) + draw(PAIRS)
    body = _object(draw(st.permutations(pairs)))
    if draw(st.booleans()):
        return body
    at = draw(st.integers(0, len(body)))
    return body[:at] + draw(st.binary(max_size=3)) + body[at + draw(st.integers(0, 3)) :]


BODIES = st.one_of(st.binary(max_size=200), st.text(max_size=100).map(str.encode), _documents())
STATUSES = st.one_of(
    st.sampled_from([200, 200, 200, 400, 401, 429, 490, 500, 504]), st.integers(0, 999)
)


def _is_documented_acknowledgement(status: int, body: bytes, *, complete: bool) -> bool:
    """Decide from the table alone, with a plain parser and a list of pairs."""
    if status != 200 or not complete or len(body) > MAX_BODY_BYTES:
        return False
    try:
        pairs = json.loads(body.decode("utf-8").removeprefix("\ufeff"), object_pairs_hook=list)
    except (ValueError, RecursionError):
        return False
    if not body.decode().removeprefix("\ufeff").lstrip().startswith("{"):
        return False
    keys = [key for key, _ in pairs]
    document = dict(pairs)
    return (
        len(keys) == len(set(keys))
        and (document.get("type") == "message" or document.get("type") == "MESSAGE")
        and document.get("reject_reason") is None
        and (
            document.get("severity") is None
            or str(document["severity"]).strip().lower() in {"info", "warning"}
        )
        and (document.get("exchange_id") is None or document["exchange_id"] == "KRAKEN")
    )


def _read(status: int, body: bytes, *, complete: bool) -> CancelAnswer:
    return read_cancel(
        exchange_id="KRAKEN", http_status=status, headers={}, body=body, complete=complete
    )


@settings(max_examples=1500, deadline=None)
@given(status=STATUSES, body=BODIES, complete=st.sampled_from([True, True, True, False]))
@example(status=200, body=b'{"type":"message"}', complete=True)
@example(status=200, body=b'{"type":"message","severity":"ERROR"}', complete=True)
def test_only_a_documented_acknowledgement_acknowledges(
    status: int, body: bytes, complete: bool
) -> None:
    answer = _read(status, body, complete=complete)
    acknowledged = answer.outcome is Outcome.ACKNOWLEDGED
    if acknowledged:
        assert _is_documented_acknowledgement(status, body, complete=complete)
    for text in (answer.reject_reason, answer.message, answer.rejected_message):
        assert len(text) <= MAX_TEXT_CHARS
        assert "\x00" not in text
        text.encode()  # raises on a lone surrogate
    assert answer.may_have_been_carried_out or answer.outcome is not Outcome.UNKNOWN
    assert answer.retry_advice is not RetryAdvice.AT_ONCE


@settings(max_examples=300, deadline=None)
@given(
    kind=st.sampled_from(["message", "MESSAGE"]),
    rest=st.fixed_dictionaries(
        {},
        optional={
            "severity": st.sampled_from(["INFO", "WARNING", "info", None]),
            "exchange_id": st.sampled_from(["KRAKEN", None]),
            "reject_reason": st.none(),
            "message": st.text(),
            "extra": st.recursive(st.text() | st.integers(), st.lists, max_leaves=5),
        },
    ),
)
def test_every_documented_acknowledgement_acknowledges(kind: str, rest: dict[str, Any]) -> None:
    body = json.dumps({"type": kind, **rest}).encode()
    assert _is_documented_acknowledgement(200, body, complete=True)
    assert _read(200, body, complete=True).outcome is Outcome.ACKNOWLEDGED
