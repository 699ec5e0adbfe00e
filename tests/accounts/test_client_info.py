"""Where a request came from, as text that the audit log can store."""

import ipaddress
from collections.abc import Callable
from typing import Any

import pytest
from django.test import RequestFactory
from hypothesis import given
from hypothesis import strategies as st

from killswitch.accounts.client_info import (
    address,
    clean,
    client_info,
    neighbourhood,
    parse_ip,
)
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
        (1, "203.0.113.7:54321", "203.0.113.7"),
        (1, "6.6.6.6, 203.0.113.7:54321", "203.0.113.7"),
        (2, "6.6.6.6:1, 203.0.113.7:54321, 10.0.0.1:80", "203.0.113.7"),
        (1, "[2001:db8::7]:54321", "2001:db8::7"),
        (1, "[2001:db8::7]", "2001:db8::7"),
        (1, '"[2001:db8::7]:54321"', "2001:db8::7"),
        (1, " '203.0.113.7' ", "203.0.113.7"),
        (1, "fe80::1%eth0", "fe80::1"),
        (1, "[fe80::1%25<script>]:9", "fe80::1"),
        (1, "::ffff:203.0.113.7", "203.0.113.7"),
        (1, "::FFFF:cb00:7107", "203.0.113.7"),
        (1, "0:0:0:0:0:ffff:203.0.113.7", "203.0.113.7"),
        (1, "[::ffff:203.0.113.7]:54321", "203.0.113.7"),
        (1, "2002:cb00:7107::1", "2002:cb00:7107::1"),
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


NOT_ADDRESSES = (
    "unknown",
    "_hidden",
    "203.0.113.7:port",
    "203.0.113.7:123456",
    "203.0.113.7:80:80",
    "203.0.113.256",
    "203.0.113",
    "[203.0.113.7",
    "2001:db8::7]:80",
    "[]:80",
    ":80",
    "\u0662\u0660\u0663.0.113.7",
    "203.0.113.7:\u0668\u0660",
    "bücher",
    "a\u202eb\x1b[31m",
    "for=203.0.113.7",
    "x" * 9000,
    "6.6.6.6,",
)


@pytest.mark.parametrize("forwarded", NOT_ADDRESSES)
def test_without_an_address_the_proxys_own_is_used_and_a_warning_logged_once(
    settings: Any, forwarded: str, proxy_warnings: Callable[[], list[str]]
) -> None:
    """Text that an attacker changes with every request must not start a new limit each time."""
    settings.TRUSTED_PROXY_COUNT = 1
    for text in (forwarded, f"{forwarded}x"):
        request = RequestFactory().get(
            "/", REMOTE_ADDR="::ffff:192.0.2.1", headers={"X-Forwarded-For": text}
        )
        assert client_info(request)["address"] == "192.0.2.1"
    (warning,) = proxy_warnings()
    assert "\x1b" not in warning
    assert "\u202e" not in warning
    assert len(warning) < 600


@pytest.mark.parametrize(
    ("proxies", "forwarded", "problem"),
    [
        (0, "203.0.113.9", "X-Forwarded-For arrived, but TRUSTED_PROXY_COUNT is 0."),
        (1, "", "X-Forwarded-For has fewer addresses than TRUSTED_PROXY_COUNT."),
        (2, "203.0.113.9", "X-Forwarded-For has fewer addresses than TRUSTED_PROXY_COUNT."),
    ],
)
def test_a_wrong_count_of_proxies_is_logged_once(
    settings: Any, proxies: int, forwarded: str, problem: str, proxy_warnings: Any
) -> None:
    settings.TRUSTED_PROXY_COUNT = proxies
    headers = {"X-Forwarded-For": forwarded}
    for _ in range(2):
        address(RequestFactory().get("/", headers=headers))
    (warning,) = proxy_warnings()
    assert problem in warning


def test_a_correct_proxy_and_none_at_all_are_not_warned_about(
    settings: Any, proxy_warnings: Any
) -> None:
    address(RequestFactory().get("/"))
    settings.TRUSTED_PROXY_COUNT = 1
    address(RequestFactory().get("/", headers={"X-Forwarded-For": "nonsense, 203.0.113.9"}))
    assert not proxy_warnings()


@given(text=st.text(max_size=60))
def test_any_text_is_an_address_or_none(text: str) -> None:
    ip = parse_ip(text)
    assert ip == "" or str(ipaddress.ip_address(ip)) == ip == parse_ip(ip)


@given(ip=st.ip_addresses(), port=st.integers(0, 65535))
def test_an_address_is_the_same_in_every_notation(ip: Any, port: int) -> None:
    written = f"[{ip}]" if ip.version == 6 else str(ip)
    assert parse_ip(str(ip)) == parse_ip(f"{written}:{port}") == parse_ip(f' "{written}" ')
    if ip.version == 4:
        assert parse_ip(f"::ffff:{ip}") == str(ip)


def test_a_socket_without_an_address_is_no_error() -> None:
    assert client_info(RequestFactory().get("/", REMOTE_ADDR=""))["address"] == ""


def test_one_subscriber_is_one_neighbourhood() -> None:
    assert neighbourhood("192.0.2.1") == "192.0.2.1"
    assert neighbourhood("2001:db8::1") == neighbourhood("2001:db8::ffff") == "2001:db8::/64"
    assert neighbourhood("fe80::1%eth0") == "fe80::/64"
    assert neighbourhood("") == ""
