"""Events are numbered, linked and hashed by rules that another program can repeat."""

import hashlib
import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
import rfc8785
from django.db import transaction
from hypothesis import given
from hypothesis import strategies as st

from killswitch.audit import canonical_json, chain
from killswitch.audit.actors import Actor
from killswitch.audit.appending import append
from killswitch.audit.chain import GENESIS, NewEvent, digest, digest_of, head
from killswitch.audit.models import AuditEvent, EventKind
from tests.audit.log import record

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-canonical_json.MAX_INTEGER, canonical_json.MAX_INTEGER)
    | TEXT,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(max_codepoint=127), max_size=8), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(VALUES)
def test_the_canonical_text_is_that_of_rfc_8785(value: Any) -> None:
    assert canonical_json.encode(value).encode() == rfc8785.dumps(value)


@given(VALUES, VALUES)
def test_two_values_have_one_text_only_when_they_are_equal(one: Any, other: Any) -> None:
    # Compared as text, because Python takes True for 1.
    is_same = repr(one) == repr(other)
    assert not is_same or canonical_json.encode(one) == canonical_json.encode(other)
    if canonical_json.encode(one) == canonical_json.encode(other):
        assert one == other


@pytest.mark.parametrize(
    "value",
    [1.5, float("nan"), 2**53, -(2**53), "\ud800", {"ü": 1}, {1: 2}, b"bytes", {"a": [1.0]}],
)
def test_a_value_without_a_single_text_is_refused(value: Any) -> None:
    with pytest.raises(canonical_json.NotCanonical):
        canonical_json.encode(value)


@given(st.binary(max_size=60))
def test_foreign_bytes_are_kept_without_loss(body: bytes) -> None:
    import base64

    encoded = canonical_json.encode_bytes(body)
    text = encoded["text"]
    back = text.encode() if encoded["encoding"] == "utf-8" else base64.b64decode(text)
    assert back == body


@given(st.datetimes(min_value=datetime(1000, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_a_time_is_written_in_one_way_whatever_its_zone(at: datetime) -> None:
    text = canonical_json.utc_text(at)
    assert len(text) == 27
    assert text == at.strftime("%Y-%m-%dT%H:%M:%S.%fZ").rjust(27, "0")
    if 1001 < at.year < 9999:
        elsewhere = at.astimezone(timezone(timedelta(hours=5, minutes=30)))
        assert canonical_json.utc_text(elsewhere) == text


@pytest.mark.both_databases
@pytest.mark.django_db
class TestAppending:
    """On the database."""

    def test_the_first_event_continues_nothing_and_the_next_one_continues_it(self) -> None:
        record(NewEvent(kind=EventKind.STARTED))
        record(NewEvent(kind=EventKind.SIGNED_IN, actor=Actor(name="Olga", role="Risk officer")))
        first, second = AuditEvent.objects.order_by("seq")
        assert (first.seq, first.previous) == (1, GENESIS)
        assert (second.seq, second.previous) == (2, first.hash)
        assert (head().seq, head().hash) == (2, second.hash)

    def test_an_empty_log_has_the_head_zero(self) -> None:
        assert (head().seq, head().hash) == (0, GENESIS)

    def test_several_events_are_chained_in_their_order(self) -> None:
        record(*(NewEvent(kind=EventKind.DENIED, data={"n": n}) for n in range(5)))
        events = list(AuditEvent.objects.order_by("seq"))
        assert [json.loads(event.data)["n"] for event in events] == [0, 1, 2, 3, 4]
        assert [event.previous for event in events[1:]] == [event.hash for event in events[:-1]]

    def test_the_hash_can_be_computed_by_the_published_rules(self) -> None:
        hostile = '\x01\u2028é漢字🛑\\"</script>'
        record(
            NewEvent(
                kind=EventKind.DENIED, exchange_id="KRAKEN/JOHN", data={"text": hostile, "n": 1}
            )
        )
        event = AuditEvent.objects.get()
        columns = {name: getattr(event, name) for name in chain.HASHED}
        columns["at"] = event.at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        assert event.hash == hashlib.sha256(rfc8785.dumps(columns)).hexdigest()
        assert digest(event) == digest_of(columns) == event.hash
        assert json.loads(event.data) == {"text": hostile, "n": 1}

    def test_a_nul_in_the_data_survives(self) -> None:
        record(NewEvent(kind=EventKind.DENIED, data={"text": "a\x00b"}))
        event = AuditEvent.objects.get()
        assert json.loads(event.data) == {"text": "a\x00b"}
        assert digest(event) == event.hash

    def test_a_rollback_leaves_no_gap(self) -> None:
        record(NewEvent(kind=EventKind.STARTED))
        with transaction.atomic():
            append(NewEvent(kind=EventKind.DENIED))
            transaction.set_rollback(True)
        record(NewEvent(kind=EventKind.STOPPED))
        assert list(AuditEvent.objects.values_list("seq", "kind")) == [
            (1, "STARTED"),
            (2, "STOPPED"),
        ]

    def test_data_without_a_canonical_text_is_refused_whole(self) -> None:
        with pytest.raises(canonical_json.NotCanonical):
            record(NewEvent(kind=EventKind.DENIED, data={"ratio": 0.5}))
        assert not AuditEvent.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_an_event_outside_of_a_transaction_is_refused() -> None:
    with pytest.raises(RuntimeError, match="transaction"):
        append(NewEvent(kind=EventKind.STARTED))
