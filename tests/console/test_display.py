"""Theme, local time and shortcuts are remembered by the browser, and right at the first paint."""

import pytest
from django.test import Client

from killswitch.console.display import Display
from tests.markup import html

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]


def root(page: str) -> str:
    return page[page.index("<html") : page.index(">", page.index("<html"))]


@pytest.mark.parametrize("path", ["/", "/requests/", "/help/", "/accounts/password/change/", "/x/"])
def test_every_page_is_sent_in_the_theme_that_was_chosen(officer: Client, path: str) -> None:
    assert "data-theme" not in root(html(officer.get(path)))
    officer.post("/display/", {"theme": "dark"})
    page = html(officer.get(path))
    assert 'data-theme="dark"' in root(page)
    assert '<meta name="color-scheme" content="dark">' in page
    officer.post("/display/", {"theme": "system"})
    page = html(officer.get(path))
    assert "data-theme" not in root(page)
    assert '<meta name="color-scheme" content="light dark">' in page


def test_the_theme_outlives_the_session(officer: Client) -> None:
    officer.post("/display/", {"theme": "light"})
    officer.post("/accounts/logout/")
    assert 'data-theme="light"' in root(html(officer.get("/accounts/login/")))


def test_local_time_and_shortcuts_are_switched(officer: Client) -> None:
    assert "data-local-time" not in root(html(officer.get("/")))
    assert "data-no-shortcuts" not in root(html(officer.get("/")))
    officer.post("/display/", {"local_time": "on", "shortcuts": "off"})
    page = root(html(officer.get("/")))
    assert "data-local-time" in page
    assert "data-no-shortcuts" in page
    officer.post("/display/", {"theme": "dark"})
    assert "data-local-time" in root(html(officer.get("/"))), "what a form lacks stays as it is"


@pytest.mark.parametrize(
    "value", ["", "theme=<b>", "theme=DARK", "%00", "theme=dark" * 100, "x" * 9999]
)
def test_a_cookie_that_makes_no_sense_is_the_default(
    officer: Client, settings: object, value: str
) -> None:
    officer.cookies[settings.DISPLAY_COOKIE_NAME] = value  # type: ignore[attr-defined]
    assert "data-theme" not in root(html(officer.get("/")))


@pytest.mark.parametrize("value", ["<b>", "DARK", "", "on"])
def test_an_unknown_theme_changes_nothing(value: str) -> None:
    assert Display().changed({"theme": value}) == Display()


@pytest.mark.parametrize(
    ("address", "target"),
    [
        ("/requests/?exchange=3", "/requests/?exchange=3"),
        ("", "/"),
        ("https://evil.example/", "/"),
        ("//evil.example/", "/"),
        ("/\\evil.example", "/"),
        ("javascript:alert(1)", "/"),
    ],
)
def test_the_form_leads_back_to_its_page_and_to_no_other_site(
    officer: Client, address: str, target: str
) -> None:
    answer = officer.post("/display/", {"theme": "dark", "next": address})
    assert (answer.status_code, answer["Location"]) == (303, target)


def test_the_cookie_is_sent_to_no_script_and_no_other_site(
    officer: Client, settings: object
) -> None:
    officer.post("/display/", {"theme": "dark"})
    cookie = officer.cookies[settings.DISPLAY_COOKIE_NAME]  # type: ignore[attr-defined]
    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"


def test_a_form_without_its_token_changes_nothing(officer: Client) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = officer.cookies
    assert strict.post("/display/", {"theme": "dark"}).status_code == 403
