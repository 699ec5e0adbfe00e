"""Foreign text keeps its meaning in storage, and foreign JSON is read strictly."""

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from killswitch.ems.foreign_json import (
    CUT_MARK,
    InvalidJson,
    NumberText,
    UnreadableRow,
    as_text,
    bounded_text,
    parse_json,
    parse_leniently,
    parse_rows,
)
from killswitch.runtime.text import sanitize

ANY_TEXT = st.text(alphabet=st.characters(exclude_categories=()))


@settings(deadline=None)
@given(ANY_TEXT, st.integers(20, 60))
def test_bounded_text_can_be_stored_and_is_never_longer_than_its_limit(
    text: str, max_chars: int
) -> None:
    bounded = bounded_text(text, max_chars=max_chars)
    bounded.encode()
    assert "\x00" not in bounded
    assert len(bounded) <= max_chars
    assert bounded == sanitize(text) or bounded.endswith(CUT_MARK)
    assert bounded_text(bounded, max_chars=max_chars) == bounded


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_valid_or_invalid_json(body: bytes) -> None:
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


@settings(deadline=None)
@given(st.lists(SPACED), st.sampled_from([None, 1]), st.integers(0, 400), st.sampled_from(",] x["))
def test_an_array_read_by_rows_is_the_array_that_json_reads(
    document: list[object], indent: int | None, at: int, character: str
) -> None:
    whole = json.dumps(document, indent=indent)
    broken = whole[:at] + character + whole[at:]
    for text in (whole, f" \n{whole}\t", broken, whole[:at]):
        rows, array = rows_or_none(text), array_or_none(text)
        if array is None and rows is not None:  # it has a defect that is read over
            assert text is not whole
        else:
            assert rows == array


def rows_or_none(text: str) -> object:
    try:
        return list(parse_rows(text.encode()))
    except InvalidJson:
        return None


def array_or_none(text: str) -> object:
    """Read with the standard library's reader, as strict about keys and numbers as ours."""
    try:
        as_ours = parse_json(text.encode())
    except InvalidJson:
        return None
    document = json.loads(text, parse_int=str, parse_float=str)
    return document if isinstance(as_ours, list) else None


DEFECTS = [
    '{"price": NaN}',
    '{"price": -Infinity}',
    '{"price": 1, "price": 2}',
    '{"symbol": "a\tb"}',
    '{"price": 01}',
    '{"price": }',
    '{"price": 1,}',
    "{'price': 1}",
    '{"fills": [{"a": undefined}], "text": "}] \\" {"}',
    '{"deep": ' + "[" * 5000 + "]" * 5000 + "}",
]


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_row_with_a_defect_spoils_only_itself(defect: str) -> None:
    rows = list(parse_rows(f'[{{"n": 1}}, {defect}, {{"n": 3}}]'.encode()))
    assert len(rows) == 3
    assert (rows[0], rows[2]) == ({"n": "1"}, {"n": "3"})
    assert isinstance(rows[1], dict | UnreadableRow)


def test_a_byte_that_is_not_utf8_stays_within_its_text() -> None:
    rows = list(parse_rows(b'[{"a": "M\xfcller"}, {"a": "b"}]'))
    assert rows == [{"a": "M\udcfcller"}, {"a": "b"}]


def test_a_key_with_several_values_has_none() -> None:
    assert parse_leniently(b'{"a": 1, "b": 2, "a": 3, "c": 4, "c": 4}') == {"b": "2", "c": "4"}


@pytest.mark.parametrize("value", [None, "", "x", 5, 0.5, True, [], {"a": None}])
def test_every_json_value_has_a_text(value: object) -> None:
    assert isinstance(as_text(value), str)


def test_absent_is_empty_and_false_is_not() -> None:
    assert (as_text(None), as_text(False), as_text(0)) == ("", "false", "0")


def test_a_long_list_is_read_window_by_window() -> None:
    rows = [{"n": number, "text": "x" * (number % 40)} for number in range(500)]
    parsed = parse_rows(json.dumps(rows).encode(), max_row_chars=64)
    assert [str(row) for row in parsed] == [
        str({"n": str(row["n"]), "text": row["text"]}) for row in rows
    ]


@pytest.mark.parametrize("at", [0, 1, 300])
def test_a_value_that_would_hold_up_all_threads_is_refused(at: int) -> None:
    rows: list[object] = [{"n": "1"}] * 400
    rows[at] = {f"key{number}": "x" for number in range(50)}
    with pytest.raises(InvalidJson, match="too long"):
        list(parse_rows(json.dumps(rows).encode(), max_row_chars=64))
