"""The data of an event is read as JSON is, also what the product would not store."""

import json

import pytest

from killswitch.audit.event_reader import parse

OBJECT = '{"reason":"Venue incident","n":[1,2]}'


@pytest.mark.parametrize("text", [OBJECT, f" {OBJECT}", f"{OBJECT}\n", f"\t{OBJECT} ", "{}", "{ }"])
def test_an_object_is_read_with_any_white_space_around_it(text: str) -> None:
    assert parse(text) == json.loads(text)


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", '{"n":', '{"n":}', f"{OBJECT}x", f"{OBJECT}{OBJECT}", f"x{OBJECT}"),
        *("[1]", "null", "\ufeff{}", '"{}"', "{" * 100_000, '{"n":' * 100_000),
    ],
)
def test_any_other_text_is_read_as_empty(text: str) -> None:
    assert parse(text) == {}
