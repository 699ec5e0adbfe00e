"""A refusal that a misconfigured proxy causes says what arrived and what is needed."""

import re
from typing import Any

import pytest
from django.test import Client

from killswitch.accounts.models import User
from killswitch.audit.models import AuditEvent
from killswitch.cancels.models import Batch
from tests import factories
from tests.console.press_helpers import EVERYWHERE, HTMX, path_of
from tests.markup import html

pytestmark = pytest.mark.django_db
TLS = {"X-Forwarded-Proto": "https"}
BY_PROXY = "A proxy in front of the console is misconfigured"
UNKNOWN_SOURCE = "It is not known which page sent this form"
WITHOUT_TLS = "This console was reached without TLS"
SEND_PROTO = "The proxy must send the header “X-Forwarded-Proto: https”"
KEEP_HOST = "The proxy must pass on the Host header"
USE_TLS = "X-Forwarded-Proto says https, but the browser used http"
NEED_SOURCE = "The Origin or Referer header must arrive"
NEEDS = {SEND_PROTO, KEEP_HOST, USE_TLS, NEED_SOURCE}
FORMS = ("/accounts/login/", "/accounts/logout/", "/alarms/1/acknowledge/", EVERYWHERE)

# How many proxies are set, the headers that arrive, the title, and what is needed.
Case = tuple[int, dict[str, str], str, set[str]]
MISCONFIGURED: list[Case] = [
    (0, {"Origin": "https://testserver"}, BY_PROXY, {SEND_PROTO}),
    (0, {"Origin": "https://testserver", **TLS}, BY_PROXY, {SEND_PROTO}),
    (1, {"Origin": "https://testserver"}, BY_PROXY, {SEND_PROTO}),
    (1, {"Origin": "https://testserver", "X-Forwarded-Proto": "HTTPS"}, BY_PROXY, {SEND_PROTO}),
    (1, {"Origin": "http://testserver", **TLS}, BY_PROXY, {USE_TLS}),
    (0, {"Origin": "http://ks.example"}, BY_PROXY, {KEEP_HOST}),
    (0, {"Origin": "http://testserver:8443"}, BY_PROXY, {KEEP_HOST}),
    (1, {"Origin": "https://ks.example", **TLS}, BY_PROXY, {KEEP_HOST}),
    (0, {"Origin": "https://ks.example"}, BY_PROXY, {SEND_PROTO, KEEP_HOST}),
    (1, {"Referer": "https://ks.example/page?reason=secret", **TLS}, BY_PROXY, {KEEP_HOST}),
    (1, {"Referer": "http://testserver/", **TLS}, BY_PROXY, {USE_TLS}),
    (1, TLS, UNKNOWN_SOURCE, {NEED_SOURCE}),
    (0, {"Origin": "null"}, UNKNOWN_SOURCE, {NEED_SOURCE}),
    (0, {"Origin": ""}, UNKNOWN_SOURCE, {NEED_SOURCE}),
    (0, {"Origin": "http://[::1"}, UNKNOWN_SOURCE, {NEED_SOURCE}),
    (1, {"Referer": "nonsense", **TLS}, UNKNOWN_SOURCE, {NEED_SOURCE}),
]


def behind(settings: Any, proxies: int) -> None:
    """Set what `TRUSTED_PROXY_COUNT` sets at the start."""
    settings.TRUSTED_PROXY_COUNT = proxies
    is_tls = bool(proxies)
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if is_tls else None
    settings.SESSION_COOKIE_SECURE = settings.CSRF_COOKIE_SECURE = is_tls


@pytest.fixture
def strict(olga: User) -> Client:
    """An officer's browser, whose forms are checked as in production."""
    client = Client(enforce_csrf_checks=True, headers={"Host": "testserver"})
    client.force_login(olga)
    client.get("/")
    return client


@pytest.mark.parametrize("part", [{}, HTMX])
@pytest.mark.parametrize("case", MISCONFIGURED)
def test_a_proxy_that_changes_a_form_is_called_that(
    strict: Client, settings: Any, part: dict[str, str], case: Case
) -> None:
    proxies, headers, title, needs = case
    factories.exchange("KRAKEN")
    behind(settings, proxies)
    for path in FORMS:
        answer = strict.post(path, headers=headers | part)
        page = html(answer)
        assert answer.status_code == 403, path
        assert title in page, path
        assert "No change was made and no cancel was sent." in page
        assert {need for need in NEEDS if need in page} == needs, path
        assert "Your role does not allow this" not in page
        assert "out of date" not in page
        assert "Host: testserver" in page
        assert f"X-Forwarded-Proto: {headers.get('X-Forwarded-Proto', '(missing)')}" in page
        assert "secret" not in page
        assert "Cancel manually" in page
        assert "curl" in page
        assert ("<html" in page) == (not part)
    assert Batch.objects.count() == 0
    assert not AuditEvent.objects.filter(kind="DENIED").exists()


@pytest.mark.parametrize("case", MISCONFIGURED)
def test_a_stranger_learns_no_more_than_their_own_headers(settings: Any, case: Case) -> None:
    proxies, headers, title, _ = case
    settings.ALLOWED_HOSTS = ["testserver", "secret-host"]
    settings.EMS_BASE_URL = "https://ems.example"
    factories.exchange("SECRET-VENUE")
    behind(settings, proxies)
    stranger = Client(enforce_csrf_checks=True)
    answer = stranger.post("/accounts/login/", headers=headers)
    assert title in html(answer)
    for word in ("secret-host", "ems.example", "SECRET-VENUE", "curl"):
        assert word not in html(answer)


def test_a_stranger_whose_cancel_is_refused_signs_in_first(settings: Any) -> None:
    factories.exchange("KRAKEN")
    stranger = Client(enforce_csrf_checks=True)
    assert stranger.post(EVERYWHERE, headers={"Origin": "http://ks.example"}).status_code == 302


def test_the_cookies_of_tls_without_tls_are_explained(settings: Any) -> None:
    behind(settings, 1)
    for headers in ({}, {"Origin": "http://testserver"}):
        answer = Client(enforce_csrf_checks=True).post("/accounts/login/", headers=headers)
        page = html(answer)
        assert answer.status_code == 403
        assert WITHOUT_TLS in page
        assert SEND_PROTO in page
        assert "no cancel was sent" in page


def test_a_missing_cookie_and_an_old_form_are_not_blamed_on_a_proxy(strict: Client) -> None:
    page = html(Client(enforce_csrf_checks=True).post("/accounts/login/"))
    assert "This page was out of date, or cookies are blocked" in page
    assert "misconfigured" not in page
    old_form = html(strict.post("/accounts/logout/", {"csrfmiddlewaretoken": "a" * 32}))
    assert "This page was out of date" in old_form
    assert "cookies are blocked" not in old_form
    assert "misconfigured" not in old_form
    exchange = factories.exchange("KRAKEN")
    again = html(strict.post(path_of(exchange), {"csrfmiddlewaretoken": "a" * 32}))
    assert "This page was out of date, so no cancel was sent. Please confirm again." in again


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_form_of_another_website_is_called_that(strict: Client, site: str) -> None:
    factories.exchange("KRAKEN")
    headers = {"Origin": "https://evil.example", "Sec-Fetch-Site": site}
    for path in FORMS:
        answer = strict.post(path, headers=headers)
        page = html(answer)
        assert answer.status_code == 403
        assert "Another website sent this form" in page
        assert "no cancel was sent" in page
        assert "misconfigured" not in page
        assert 'name="key"' not in page


def test_another_website_is_ruled_out_where_the_browser_does_so(strict: Client) -> None:
    headers = {"Origin": "http://ks.example"}
    doubt = "If you came from another website"
    assert doubt in html(strict.post("/accounts/logout/", headers=headers))
    headers["Sec-Fetch-Site"] = "same-origin"
    assert doubt not in html(strict.post("/accounts/logout/", headers=headers))


@pytest.mark.parametrize("part", [{}, HTMX])
def test_a_wrong_role_is_still_called_that_and_recorded(
    compliance: Client, part: dict[str, str]
) -> None:
    factories.exchange("KRAKEN")
    compliance.handler.enforce_csrf_checks = True
    answer = compliance.post(EVERYWHERE, headers={"Origin": "http://ks.example"} | part)
    assert answer.status_code == 403
    assert "Your role does not allow this" in html(answer)
    assert AuditEvent.objects.filter(kind="DENIED").count() == 1


@pytest.mark.parametrize(
    "host", ["ks.example", "ks.example:8443", "10.0.0.7", "a,b", "", "bad host"]
)
@pytest.mark.parametrize("part", [{}, HTMX])
def test_an_unknown_host_is_shown_with_what_is_needed(
    strict: Client, settings: Any, host: str, part: dict[str, str]
) -> None:
    settings.ALLOWED_HOSTS = ["secret-host"]
    factories.exchange("KRAKEN")
    for answer in (
        strict.get("/", headers={"Host": host} | part),
        strict.post(EVERYWHERE, headers={"Host": host} | part),
    ):
        page = html(answer)
        assert answer.status_code == 400
        assert "The console does not respond to this address" in page
        assert "so no cancel was sent" in page
        assert f"Host: {host or '(missing)'}" in page
        assert "ALLOWED_HOSTS must contain the name" in page
        assert KEEP_HOST in page
        assert "curl" in page
        assert "secret-host" not in page
    stranger = html(Client().get("/", headers={"Host": host}))
    assert "curl" not in stranger
    assert "secret-host" not in stranger


def test_what_arrived_is_escaped_and_bounded(strict: Client) -> None:
    nasty = "https://<script>alert(1)</script>\u202e\x1b[31m" + "x" * 9000
    for headers in ({"Origin": nasty}, {"Origin": "http://ks.example", "X-Forwarded-Proto": nasty}):
        page = html(strict.post("/accounts/logout/", headers=headers))
        assert "<script>alert" not in page
        assert "\x1b" not in page
        assert "\u202e" not in page
        assert not re.search("x{300}", page)
    page = html(strict.get("/", headers={"Host": nasty}))
    assert "<script>alert" not in page
    assert not re.search("x{300}", page)


def test_operators_find_it_in_the_log_once(
    strict: Client, settings: Any, proxy_warnings: Any
) -> None:
    headers = {"Origin": "https://ks.example", "Referer": "https://ks.example/?reason=secret"}
    for _ in range(3):
        strict.post("/accounts/logout/", headers=headers)
    (warning,) = proxy_warnings()
    assert "WARNING" in warning or "'level': 'warning'" in warning
    for word in (BY_PROXY, "https://ks.example", "testserver", "trusted_proxy_count", "proxy must"):
        assert word in warning
    assert "secret" not in warning
    strict.get("/", headers={"Host": "ks.example"})
    assert len(proxy_warnings()) == 2
