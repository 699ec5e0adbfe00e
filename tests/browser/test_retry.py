"""Retry on the pages of outcomes: the same safety net as in the dialog, whatever becomes of it."""

from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from killswitch.accounts.models import Role, User
from killswitch.cancels.models import Batch
from killswitch.cancels.states import Status
from tests import factories
from tests.browser.conftest import Complaints, sign_in
from tests.browser.test_races import AN_HOUR_AGO
from tests.conftest import wait_for

RETRY = "Retry now on VENUE01"


def failed(user: User, **context: Any) -> Batch:
    batch = factories.press(user, *factories.exchanges(1), **context)
    factories.bring(batch.requests.get(), Status.REJECTED)
    return batch


def path_to(kind: str, batch: Batch) -> str:
    return f"/{kind}/{(batch if kind == 'batches' else batch.requests.get()).uuid}/"


@pytest.mark.parametrize("kind", ["batches", "requests"])
def test_a_retry_on_a_page_shows_its_result_in_the_dialog(
    page: Page, olga: User, kind: str
) -> None:
    batch = failed(olga)
    page.goto(path_to(kind, batch))
    page.get_by_role("button", name=RETRY).dblclick()
    expect(page.locator("#dialog .batch")).to_contain_text("Retry of the cancel")
    expect(page.locator("main")).to_contain_text("Retried at")
    expect(page.locator("main form.again")).to_have_count(0)
    assert batch.retries.count() == 1


@pytest.mark.parametrize("kind", ["batches", "requests"])
def test_a_retry_without_an_answer_is_remembered_and_sent_again_once(
    page: Page, olga: User, kind: str, complaints: Complaints
) -> None:
    batch = failed(olga, reason="Drill")
    lost = page.context.new_page()
    lost.goto(path_to(kind, batch))
    lost.route("**/cancel-all/**", lambda route: route.abort())
    lost.get_by_role("button", name=RETRY).click()
    expect(lost.locator("#dialog [data-no-answer]")).to_contain_text("No response arrived.")
    expect(lost.locator("#dialog-title")).to_have_text(RETRY)
    expect(lost.locator("#dialog .way")).to_be_visible()
    lost.close()

    page.goto("/accounts/logout/")
    page.evaluate(AN_HOUR_AGO)
    page.goto("/")
    block = page.locator("#dialog [data-no-answer]")
    expect(block).to_contain_text("before a response to your request of")
    assert Batch.objects.count() == 1
    block.locator("button").click()
    expect(page.locator("#dialog .batch")).to_contain_text("Retry of the cancel")
    assert batch.retries.get().reason == "Drill"
    complaints.forgive()


def test_a_retry_that_was_recorded_although_its_answer_was_lost_is_sent_once(
    page: Page, olga: User, complaints: Complaints
) -> None:
    batch = failed(olga)
    page.goto(path_to("batches", batch))

    def lose(route: Route) -> None:
        route.fetch()
        route.abort()

    page.route("**/cancel-all/**", lose)
    page.get_by_role("button", name=RETRY).click()
    wait_for(batch.retries.exists, seconds=5)
    expect(page.locator("#dialog [data-no-answer]")).to_be_visible()
    page.unroute("**/cancel-all/**")
    page.locator("#dialog [data-again]").click()
    expect(page.locator("#dialog-title")).to_contain_text("Already requested at")
    assert batch.retries.count() == 1
    complaints.forgive()


def test_a_poll_takes_no_form_away_that_waits_for_its_answer(
    page: Page, olga: User, complaints: Complaints
) -> None:
    batch = failed(olga)
    page.goto(path_to("batches", batch))
    routes: list[Route] = []
    page.route("**/cancel-all/**", lambda route: routes.append(route))  # noqa: PLW0108 - Playwright cannot call a built-in
    page.get_by_role("button", name=RETRY).click()
    expect(page.locator("main form.again")).to_have_attribute("aria-busy", "true")
    factories.press(olga, batch.requests.get().configured_exchange)
    expect(page.locator("main")).to_contain_text("Another cancel was requested since")
    routes[0].abort()
    expect(page.locator("#dialog [data-no-answer]")).to_be_visible()
    complaints.forgive()


def test_anothers_cancel_is_asked_about_in_the_dialog(page: Page, olga: User) -> None:
    ivan = factories.person(Role.RISK_OFFICER, username="ivan", full_name="Ivan Roe")
    batch = failed(ivan, reason="Limit breach")
    page.goto(path_to("batches", batch))
    page.get_by_role("link", name="Retry on VENUE01…").click()
    expect(page.locator("#dialog")).to_contain_text("by Ivan Roe")
    expect(page.locator("#press-pick")).to_have_value("")
    page.get_by_role("button", name="Retry: cancel all orders on VENUE01").click()
    expect(page.locator("#dialog .batch")).to_contain_text("Retry of the cancel")
    assert batch.retries.get().by == olga


def test_without_scripts_a_retry_is_asked_about(browser: Any, live_server: Any, olga: User) -> None:
    batch = failed(olga, reason="Drill")
    context = browser.new_context(base_url=live_server.url, java_script_enabled=False)
    sign_in(context, olga, live_server.url)
    page = context.new_page()
    page.goto(path_to("batches", batch))
    expect(page.get_by_role("button", name=RETRY)).to_be_hidden()
    page.get_by_role("link", name="Retry on VENUE01…").click()
    assert Batch.objects.count() == 1
    page.get_by_role("button", name="Retry: cancel all orders on VENUE01").click()
    page.wait_for_url("**/batches/*/")
    assert batch.retries.get().reason == "Drill"
    context.close()
