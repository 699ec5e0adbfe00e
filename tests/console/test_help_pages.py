"""The help has an entry for everything that the screens show, and every role can read it."""

import re

import pytest
from django.test import Client
from django.utils.html import escape

from killswitch.accounts.models import Role
from killswitch.cancels.states import Status
from killswitch.cancels.status_help import ALL_STATUSES
from killswitch.console.help_pages import FIGURE_HELP, HOLD_HELP, READINESS_HELP
from killswitch.holds.models import HoldState
from killswitch.readiness.judgement import Level
from tests import factories
from tests.markup import html

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]
HINT = "Read “Your first day”"


def test_every_state_of_the_screens_has_help() -> None:
    assert {f"status-{status}" for status in Status} <= {entry.name for entry in ALL_STATUSES}
    assert set(HoldState) <= set(HOLD_HELP)
    assert set(READINESS_HELP) == {*Level, "NOT_KNOWN"}


def test_the_help_shows_each_of_them_at_its_own_anchor(officer: Client) -> None:
    page = html(officer.get("/help/"))
    entries = [*ALL_STATUSES, *HOLD_HELP.values(), *READINESS_HELP.values(), *FIGURE_HELP]
    # Of the parts in a `template` one is shown at a time.
    page = re.sub(r"<template.*?</template>", "", page, flags=re.DOTALL)
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    for entry in entries:
        assert entry.name in ids
        assert escape(entry.meaning) in page
        assert escape(entry.action) in page
    anchors = re.findall(r'href="(?:/help/)?#([^"]+)"', page)
    assert set(anchors) <= set(ids)


@pytest.mark.parametrize("path", ["/help/", "/help/first-day/"])
@pytest.mark.parametrize("role", Role)
def test_every_role_reads_the_help_and_finds_the_way_back(role: Role, path: str) -> None:
    browser = Client()
    browser.force_login(factories.person(role))
    page = html(browser.get(path))
    assert "<h1>" in page
    assert '<a class="brand" href="/">' in page
    # An administrator has no console: a poll would be refused every second.
    assert ('id="poll"' in page) == (role is not Role.ADMINISTRATOR)


@pytest.mark.parametrize("path", ["/help/", "/help/first-day/"])
def test_the_help_asks_for_a_sign_in(path: str) -> None:
    assert Client().get(path)["Location"] == f"/accounts/login/?next={path.replace('/', '%2F')}"


def test_the_hint_for_new_officers_goes_when_it_is_read(officer: Client) -> None:
    assert HINT in html(officer.get("/"))
    officer.get("/help/first-day/")
    assert HINT not in html(officer.get("/"))


def test_the_hint_goes_when_it_is_dismissed_without_scripts_too(officer: Client) -> None:
    answer = officer.post("/display/", {"hint": "off", "next": "/"})
    assert (answer.status_code, answer["Location"]) == (303, "/")
    assert HINT not in html(officer.get("/"))


def test_the_hint_is_for_officers(compliance: Client) -> None:
    assert HINT not in html(compliance.get("/"))


@pytest.mark.parametrize(
    ("role", "own", "foreign"),
    [
        (Role.RISK_OFFICER, "Keep the red button pressed", "Sign off each period"),
        (Role.COMPLIANCE, "Sign off each period", "Keep the red button pressed"),
        (Role.ADMINISTRATOR, "Write the runbook", "Keep the red button pressed"),
    ],
)
def test_the_first_day_is_that_of_the_role_and_links_to_its_own_pages(
    role: Role, own: str, foreign: str
) -> None:
    browser = Client()
    browser.force_login(factories.person(role))
    page = html(browser.get("/help/first-day/"))
    assert own in page
    assert foreign not in page
    steps = page.split("<ol>")[1].split("</ol>")[0]
    for link in set(re.findall(r'href="(/[^"#]*)', steps)):
        assert browser.get(link).status_code == 200, link


def test_an_administrator_finds_the_first_day_and_the_way_back() -> None:
    browser = Client()
    browser.force_login(factories.person(Role.ADMINISTRATOR))
    assert HINT in html(browser.get("/administration/exchanges/"))
    assert 'href="/administration/">Administration</a>' in html(browser.get("/help/first-day/"))
    assert HINT not in html(browser.get("/administration/exchanges/"))


def test_the_theme_can_be_chosen_on_every_page_with_the_menu() -> None:
    for role, path in ((Role.ADMINISTRATOR, "/administration/groups/"), (Role.COMPLIANCE, "/")):
        browser = Client()
        browser.force_login(factories.person(role))
        page = html(browser.get(path))
        assert "data-display" in page
        assert "/static/js/display" in page
