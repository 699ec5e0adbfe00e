"""What holds at every address, taken from the URL configuration: a new one is tested as well."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client

from killswitch.accounts.models import Role, User
from killswitch.accounts.permissions import ROLES, Permission
from killswitch.audit.chain import head
from killswitch.console.middleware import MAX_BODY_BYTES
from killswitch.runtime.revisions import current
from tests import factories
from tests.accounts.test_decorators import VIEWS, _real, _rows

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases, pytest.mark.usefixtures("limits")]
HTMX = {"HX-Request": "true"}
CHANGE = "/accounts/password/change/"
PROBES = {"healthz", "readyz", "metrics"}
# Pages on which a second factor is set up before anything else.
SET_UP = {"accounts/second-factor/set-up/", "accounts/password/again/", CHANGE[1:]}


@pytest.fixture(autouse=True)
def home(settings: Any, tmp_path: Any) -> None:
    settings.KILLSWITCH_HOME = tmp_path


def _addresses(user: User) -> Iterator[tuple[str, str, Permission]]:
    """Yield the routes that are open to this user, each with an address of a row that exists."""
    rows = _rows(user)
    for route, path, view in VIEWS:
        if user.role in ROLES[view.permission]:
            yield route, _real(route, rows) if "/<" in route else path, view.permission


def _browser(user: User, **options: Any) -> Client:
    browser = Client(raise_request_exception=False, **options)
    browser.force_login(user)
    return browser


@pytest.mark.parametrize("role", Role)
def test_no_form_of_another_website_changes_anything(role: Role) -> None:
    user = factories.person(role)
    browser = _browser(user, enforce_csrf_checks=True)
    addresses = list(_addresses(user))
    before = head().seq, current()
    for route, path, _ in addresses:
        for headers in ({}, HTMX | {"Origin": "https://evil.example"}):
            answer = browser.post(path, {"csrfmiddlewaretoken": "x" * 64}, headers=headers)
            assert answer.status_code == 403, (route, headers)
    assert (head().seq, current()) == before


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("is_forced", [True, False], ids=["password", "second factor"])
def test_nothing_works_before_the_first_step_of_an_account(
    role: Role, is_forced: bool, settings: Any
) -> None:
    user = factories.person(role, must_change_password=is_forced)
    settings.SECOND_FACTOR = "optional" if is_forced else "required"
    browser = _browser(user)
    addresses = list(_addresses(user))
    before = head().seq, current()
    first_step = CHANGE if is_forced else "/accounts/second-factor/set-up/"
    for route, path, permission in addresses:
        if route in ({CHANGE[1:]} if is_forced else SET_UP):
            continue
        if permission == Permission.PUBLIC and route != "":
            continue
        for method in ("get", "post", "put") if route else ("get",):
            answer = getattr(browser, method)(path)
            assert answer.status_code == 302, (route, method)
            # Administrators are led to their own pages first, and from there on.
            is_home = route == "" and role == Role.ADMINISTRATOR
            assert answer["Location"] == ("/administration/" if is_home else first_step), route
        if route:
            assert browser.post(path, headers=HTMX).status_code == 401, route
    assert (head().seq, current()) == before


@pytest.mark.parametrize("role", Role)
def test_only_a_get_or_a_post_does_anything(role: Role) -> None:
    user = factories.person(role)
    browser = _browser(user)
    addresses = list(_addresses(user))
    before = head().seq, current()
    for route, path, _ in addresses:
        for method in ("put", "options"):
            answer = getattr(browser, method)(path)
            # A person who is signed in is led on from the pages of the sign-in.
            allowed = {302, 405} if "accounts/" in route else {405}
            assert answer.status_code in allowed, (route, method)
    assert (head().seq, current()) == before


@pytest.mark.parametrize("role", Role)
def test_reading_a_page_changes_nothing(role: Role) -> None:
    """So a link on another website, which carries the session, has no effect."""
    user = factories.person(role)
    browser = _browser(user)
    addresses = list(_addresses(user))
    before = head().seq, current()
    for route, path, _ in addresses:
        if route in PROBES:
            continue
        # An export is recorded, so it is not started by a link on another website.
        headers = {"Sec-Fetch-Site": "cross-site"} if "export" in route else {}
        assert browser.get(path, headers=headers).status_code < 500, route
        browser.head(path)
    assert (head().seq, current()) == before


@pytest.mark.parametrize("role", Role)
def test_every_answer_forbids_frames_foreign_scripts_and_caches(role: Role) -> None:
    user = factories.person(role)
    browser = _browser(user)
    addresses = [(route, path) for route, path, _ in _addresses(user) if route not in PROBES]
    answers = {route: browser.get(path) for route, path in addresses}
    answers |= {f"POST {route}": browser.post(path) for route, path in addresses if path != "/"}
    answers |= {
        "not found": browser.get("/no/such/page/"),
        "method": browser.delete("/requests/"),
        "fields": browser.get("/accounts/login/?" + "a=1&" * 1500),
        "host": browser.get("/", headers={"Host": "evil.example"}),
        "csrf": _browser(user, enforce_csrf_checks=True).post("/accounts/logout/"),
        "size": browser.generic("POST", "/accounts/login/", b"x" * (MAX_BODY_BYTES + 1)),
    }
    for name, answer in answers.items():
        headers = answer.headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy, name
        assert "script-src 'self'" in policy, name
        assert "frame-ancestors 'none'" in policy, name
        assert not {"unsafe", "data:", "*", "http"} & set(policy.replace(";", " ").split()), name
        assert headers["X-Frame-Options"] == "DENY", name
        assert headers["X-Content-Type-Options"] == "nosniff", name
        assert headers["Referrer-Policy"] == "same-origin", name
        is_page = answer.status_code != 204 and not 300 <= answer.status_code < 400
        assert not is_page or "no-store" in headers.get("Cache-Control", ""), name
