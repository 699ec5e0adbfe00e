"""Requests of htmx, redirects after a form, and row numbers in addresses."""

import pytest
from django.test import RequestFactory
from hypothesis import given, settings
from hypothesis import strategies as st

from killswitch.runtime.http import MAX_ID, is_htmx, parse_id, see_other


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
