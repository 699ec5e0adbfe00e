"""Where a request came from, as text that the audit log can store."""

from typing import Any

import pytest
from django.test import RequestFactory
from hypothesis import given
from hypothesis import strategies as st

from killswitch.accounts.client_info import address, clean, client_info, neighbourhood
from killswitch.audit import canonical_json


@given(text=st.text(alphabet=st.characters(exclude_categories=())), limit=st.integers(1, 50))
def test_any_text_is_cleaned_to_what_the_log_can_store(text: str, limit: int) -> None:
    cleaned = clean(text, limit)
    assert len(cleaned) <= limit
    assert "\x00" not in cleaned
    canonical_json.encode({"text": cleaned})
    assert clean(cleaned, limit) == cleaned


@given(text=st.text(alphabet=st.characters(categories=["L", "N", "P"]), max_size=40))
def test_plain_text_is_not_changed(text: str) -> None:
    assert clean(text, 40) == text


def test_a_text_that_is_cut_ends_with_a_mark() -> None:
    assert clean("a" * 11, 10) == "a" * 9 + "…"
    assert clean("a" * 10, 10) == "a" * 10


@pytest.mark.parametrize(
    ("proxies", "forwarded", "expected"),
    [
        (0, "203.0.113.9", "192.0.2.1"),
        (1, "203.0.113.9", "203.0.113.9"),
        (1, "6.6.6.6, 203.0.113.9", "203.0.113.9"),
        (2, "6.6.6.6, 203.0.113.9, 10.0.0.1", "203.0.113.9"),
        (2, "203.0.113.9", "192.0.2.1"),
        (1, "", "192.0.2.1"),
        (1, "nonsense", "192.0.2.1"),
        (1, "2001:DB8::1", "2001:db8::1"),
    ],
)
def test_only_our_own_proxies_are_believed(
    settings: Any, proxies: int, forwarded: str, expected: str
) -> None:
    settings.TRUSTED_PROXY_COUNT = proxies
    request = RequestFactory().get(
        "/", REMOTE_ADDR="192.0.2.1", headers={"X-Forwarded-For": forwarded}
    )
    assert address(request) == expected


def test_a_socket_without_an_address_is_no_error() -> None:
    assert client_info(RequestFactory().get("/", REMOTE_ADDR=""))["address"] == ""


def test_one_subscriber_is_one_neighbourhood() -> None:
    assert neighbourhood("192.0.2.1") == "192.0.2.1"
    assert neighbourhood("2001:db8::1") == neighbourhood("2001:db8::ffff") == "2001:db8::/64"
    assert neighbourhood("fe80::1%eth0") == "fe80::/64"
    assert neighbourhood("") == ""
