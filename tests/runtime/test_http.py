"""Requests of htmx, redirects after a form, row numbers in addresses, and streamed files."""

from collections.abc import Iterator

import pytest
from django.test import RequestFactory
from hypothesis import given, settings
from hypothesis import strategies as st

from killswitch.runtime.http import MAX_ID, is_htmx, parse_id, see_other, streamed


@pytest.mark.parametrize(
    ("headers", "expected"),
    [({}, False), ({"HX-Request": "true"}, True), ({"HX-Request": "false"}, False)],
)
def test_only_htmx_gets_a_part_of_a_page(headers: dict[str, str], expected: bool) -> None:
    assert is_htmx(RequestFactory().get("/", headers=headers)) is expected


def test_a_form_is_answered_by_a_redirect_that_a_browser_gets() -> None:
    response = see_other("/batches/1/")
    assert response.status_code == 303
    assert response["Location"] == "/batches/1/"


def test_no_address_of_a_form_is_an_error_or_adds_a_header() -> None:
    response = see_other("/requests/\r\nSet-Cookie: x=y?reason=Störung ✓")
    assert (
        response["Location"] == "/requests/%0D%0ASet-Cookie:%20x=y?reason=St%C3%B6rung%20%E2%9C%93"
    )


def test_a_file_that_fails_half_way_says_so_in_its_last_line() -> None:
    def chunks() -> Iterator[bytes]:
        yield b"one\n"
        raise OSError("half-way")

    received: list[bytes] = []
    with pytest.raises(OSError, match="half-way"):
        received.extend(streamed(chunks(), interrupted=b"INCOMPLETE\n"))
    assert received == [b"one\n", b"INCOMPLETE\n"]
    assert list(streamed(iter([b"one\n"]), interrupted=b"INCOMPLETE\n")) == [b"one\n"]


@settings(deadline=None)
@given(st.integers(0, MAX_ID))
def test_every_number_of_a_row_is_read(number: int) -> None:
    assert parse_id(str(number)) == number


@pytest.mark.parametrize(
    "text", ["", " ", "-1", "+1", "1.0", "1e3", "1_000", "٣", "²", "0x1", "1\n", str(MAX_ID + 1)]
)
def test_any_other_text_is_no_number(text: str) -> None:
    assert parse_id(text) is None


@settings(deadline=None)
@given(st.text())
def test_no_text_is_an_error(text: str) -> None:
    number = parse_id(text)
    assert number is None or 0 <= number <= MAX_ID


def test_a_number_of_a_million_digits_is_not_even_converted() -> None:
    assert parse_id("9" * 1_000_000) is None
