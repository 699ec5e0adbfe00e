"""Every error has a page that says what to do next."""

from typing import Any

import pytest
from django.http import HttpResponse
from django.template.loader import render_to_string
from django.test import Client, RequestFactory

from killswitch.console.middleware import ErrorPageMiddleware
from tests.console.press_helpers import HTMX
from tests.failures import failing
from tests.markup import html

pytestmark = pytest.mark.django_db
PAGES = (400, 403, 404, 405, 413, 429, 500, 503)


def through_middleware(answer: HttpResponse, **extra: Any) -> Any:
    request = RequestFactory().get("/", **extra)
    return ErrorPageMiddleware(lambda _: answer)(request)


@pytest.mark.parametrize("status", PAGES)
def test_every_error_has_a_page_that_leads_on_and_needs_no_database(
    status: int, django_assert_num_queries: Any
) -> None:
    request = RequestFactory().get("/")
    with django_assert_num_queries(0):
        page = render_to_string(f"{status}.html", {}, request=request)
    assert "<h1>" in page
    assert '<a class="button" href="/' in page


def test_a_simulated_ems_is_named_in_every_environment(settings: Any) -> None:
    settings.DEMO, settings.KILLSWITCH_ENVIRONMENT = True, "production"
    page = html(Client().get("/accounts/login/"))
    assert "PRODUCTION · SIMULATED EMS" in page
    assert "real money" not in page
    settings.DEMO = False
    assert "SIMULATED" not in html(Client().get("/accounts/login/"))


@pytest.mark.parametrize("status", [403, 404, 405, 429])
def test_an_error_without_a_body_gets_its_page(status: int) -> None:
    answer = through_middleware(
        HttpResponse(status=status, headers={"Allow": "POST", "Retry-After": "60"})
    )
    assert answer.status_code == status
    assert b"<h1>" in answer.content
    assert (answer["Allow"], answer["Retry-After"]) == ("POST", "60")


def test_what_has_a_body_or_is_no_error_stays_as_it_is() -> None:
    for answer in (HttpResponse(b"own words", status=409), HttpResponse(status=204)):
        assert through_middleware(answer) is answer


def test_an_address_that_is_not_there_is_not_found_in_words(officer: Client) -> None:
    answer = officer.get("/nowhere/")
    assert answer.status_code == 404
    assert b"Page not found" in answer.content
    part = officer.get("/nowhere/", headers=HTMX)
    assert b"<html" not in part.content
    assert b'id="dialog-title"' in part.content


def test_a_host_that_is_not_ours_is_refused_in_words(officer: Client) -> None:
    answer = officer.get("/", headers={"Host": "evil.example"})
    assert answer.status_code == 400
    assert "The console does not respond to this address" in html(answer)


def test_a_defect_shows_no_trace_of_itself(officer: Client) -> None:
    officer.raise_request_exception = False
    with failing("killswitch.console.grid.rows", ZeroDivisionError("secret detail")):
        answer = officer.get("/")
    assert answer.status_code == 500
    assert b"Something went wrong" in answer.content
    assert b"secret detail" not in answer.content
    assert b"curl" in answer.content


def test_a_defect_shows_the_manual_commands_to_officers_only(compliance: Client) -> None:
    compliance.raise_request_exception = False
    with failing("killswitch.console.grid.rows", ZeroDivisionError()):
        answer = compliance.get("/")
    assert answer.status_code == 500
    assert b"curl" not in answer.content
