"""Foreign text is kept whole in meaning, and foreign JSON is read strictly."""

import contextlib
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from killswitch.ems import foreign_text
from killswitch.ems.foreign_text import (
    CUT_MARK,
    InvalidJson,
    NumberText,
    as_text,
    parse_json,
    parse_rows,
    sanitize,
    truncate,
)

ANY_TEXT = st.text(alphabet=st.characters())


@given(ANY_TEXT)
def test_storable_text_can_be_stored_and_says_the_same(text: str) -> None:
    safe = sanitize(text)
    safe.encode()
    assert "\x00" not in safe
    assert sanitize(safe) == safe
    if "\\u" not in text:
        back = re.sub(r"\\u(0000|d[89a-f][0-9a-f]{2})", lambda match: chr(int(match[1], 16)), safe)
        assert back == text


def test_only_nul_and_lone_surrogates_change() -> None:
    assert sanitize("a\x00b\ud83d\x01\n<b>\U0001f600\\u0041") == (
        "a\\u0000b\\ud83d\x01\n<b>\U0001f600\\u0041"
    )


@given(ANY_TEXT, st.integers(20, 60))
def test_bounded_text_is_never_longer_than_its_limit(text: str, limit: int) -> None:
    short = truncate(text, limit=limit)
    assert len(short) <= limit
    assert short == sanitize(text) or short.endswith(CUT_MARK)
    assert truncate(short, limit=limit) == short


@given(st.binary(max_size=300))
def test_any_bytes_are_json_or_not_json(body: bytes) -> None:
    with contextlib.suppress(InvalidJson):
        parse_json(body)
    with contextlib.suppress(InvalidJson):
        list(parse_rows(body))


def test_the_error_does_not_quote_the_document() -> None:
    with pytest.raises(InvalidJson) as caught:
        parse_json(b'{"secret"' + b"\xff" * 1000)
    assert str(caught.value) == "not UTF-8"


def test_numbers_keep_their_digits() -> None:
    value = list(parse_rows(b'[0.10, 1e5, 123456789012345678901234567890, "0.10"]'))
    assert value == ["0.10", "1e5", "123456789012345678901234567890", "0.10"]
    assert [type(item) for item in value] == [NumberText, NumberText, NumberText, str]


SPACED = st.recursive(
    st.none() | st.booleans() | st.text() | st.integers(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.lists(SPACED), st.sampled_from([None, 1]), st.integers(0, 400), st.sampled_from(",] x["))
def test_an_array_read_by_rows_is_the_array_that_json_reads(
    document: list[object], indent: int | None, at: int, sign: str
) -> None:
    whole = json.dumps(document, indent=indent)
    broken = whole[:at] + sign + whole[at:]
    for text in (whole, f" \n{whole}\t", broken, whole[:at]):
        assert rows_or_none(text) == array_or_none(text)


def rows_or_none(text: str) -> object:
    try:
        return list(parse_rows(text.encode()))
    except InvalidJson:
        return None


def array_or_none(text: str) -> object:
    """The standard library's reader, as strict about keys and numbers as ours."""
    try:
        as_ours = parse_json(text.encode())
    except InvalidJson:
        return None
    document = json.loads(text, parse_int=str, parse_float=str)
    return document if isinstance(as_ours, list) else None


@pytest.mark.parametrize("value", [None, "", "x", 5, 0.5, True, [], {"a": None}])
def test_every_json_value_has_a_text(value: object) -> None:
    assert isinstance(as_text(value), str)


def test_absent_is_empty_and_false_is_not() -> None:
    assert (as_text(None), as_text(False), as_text(0)) == ("", "false", "0")


def test_a_long_list_is_read_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign_text, "MAX_ROW_CHARS", 64)
    rows = [{"n": number, "text": "x" * (number % 40)} for number in range(500)]
    assert [str(row) for row in parse_rows(json.dumps(rows).encode())] == [
        str({"n": str(row["n"]), "text": row["text"]}) for row in rows
    ]


@pytest.mark.parametrize("at", [0, 1, 300])
def test_a_value_that_would_hold_all_threads_up_is_no_row(
    monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    monkeypatch.setattr(foreign_text, "MAX_ROW_CHARS", 64)
    rows: list[object] = [{"n": "1"}] * 400
    rows[at] = {f"key{number}": "x" for number in range(50)}
    with pytest.raises(InvalidJson, match="too long"):
        list(parse_rows(json.dumps(rows).encode()))
