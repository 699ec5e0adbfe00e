"""How many actions (clicks, keys, choices) an officer's and a compliance lead's tasks take."""

from datetime import timedelta
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from killswitch.accounts.models import Role, User
from killswitch.alarms.models import Alarm
from killswitch.cancels.models import Batch
from killswitch.cancels.states import Status
from killswitch.exchanges.models import Exchange
from tests import factories
from tests.browser.conftest import sign_in
from tests.browser.test_freshness import ready
from tests.conftest import wait_for

A_DAY = timedelta(days=1)


class Actions:
    """Counts what a person does, and allows no more than the task may take."""

    def __init__(self, *, allowed: int) -> None:
        self._left = allowed

    def click(self, target: Locator) -> None:
        self._left -= 1
        assert self._left >= 0, f"one action too many: {target}"
        expect(target).to_be_in_viewport(ratio=0.9)
        target.click()


def failed(user: User, count: int = 1, *, days_ago: int = 0, reason: str = "") -> Batch:
    first = Exchange.objects.count()
    made = [factories.exchange(f"VENUE{first + number:02}", orders=3) for number in range(count)]
    batch = factories.press(user, *made, reason=reason)
    for request in batch.requests.all():
        factories.bring(request, Status.REJECTED)
    Batch.objects.filter(pk=batch.pk).update(asked_at=batch.asked_at - days_ago * A_DAY)
    return batch


@pytest.mark.parametrize("start", ["console", "alarms", "batch"])
def test_what_failed_is_retried_in_two_actions(page: Page, olga: User, start: str) -> None:
    batch = failed(olga, 8)
    page.set_viewport_size({"width": 1280, "height": 800})
    actions = Actions(allowed=2)
    match start:
        case "console":
            ready(page)
            actions.click(page.locator("[data-retry-failed]"))
        case "alarms":
            page.goto("/alarms/")
            actions.click(page.get_by_role("link", name="Retry 8 exchanges"))
        case _:  # the page of one's own cancel asks nothing for five minutes
            page.goto(f"/batches/{batch.uuid}/")
            actions.click(page.get_by_role("button", name="Retry now on these 8 exchanges"))
    if start != "batch":
        assert not batch.retries.exists(), "the question is asked first"
        actions.click(page.get_by_role("button", name="Retry: cancel all orders on these 8"))
    wait_for(batch.retries.exists, seconds=10)
    assert batch.retries.get().requests.count() == 8


def test_yesterdays_cancel_is_found_in_two_actions(page: Page, olga: User) -> None:
    failed(olga, days_ago=1, reason="Drill of yesterday")
    page.set_viewport_size({"width": 1280, "height": 800})
    ready(page)
    actions = Actions(allowed=2)
    actions.click(page.get_by_role("link", name="All cancels"))
    actions.click(page.get_by_role("link", name="Yesterday", exact=True))
    expect(page.locator("#requests tr")).to_have_count(1)
    expect(page.locator("#requests .why")).to_contain_text("Drill of yesterday")


@pytest.mark.parametrize("role", [Role.RISK_OFFICER, Role.COMPLIANCE])
def test_who_failed_last_week_and_why_is_found_in_three_actions(
    page: Page, olga: User, live_server: Any, role: Role
) -> None:
    ivan = factories.person(Role.RISK_OFFICER, username="ivan", full_name="Ivan Roe")
    failed(olga, days_ago=9, reason="Before that")
    failed(ivan, days_ago=2, reason="Limit breach")
    other = factories.exchange("KRAKEN", orders=3)
    good = factories.press(olga, other, reason="Confirmed since")
    factories.bring(good.requests.get(), Status.CONFIRMED)
    if role == Role.COMPLIANCE:
        sign_in(page.context, factories.person(role), live_server.url)
    page.set_viewport_size({"width": 1280, "height": 800})
    ready(page)
    actions = Actions(allowed=3)
    actions.click(page.get_by_role("navigation").get_by_role("link", name="Requests"))
    actions.click(page.get_by_role("link", name="Last 7 days"))
    actions.click(page.get_by_role("link", name="Not confirmed", exact=True))
    row = page.locator("#requests tr")
    expect(row).to_have_count(1)
    for cell, text in (("who", "Ivan Roe"), ("why", "Limit breach"), ("result", "Rejected")):
        expect(row.locator(f".{cell}")).to_contain_text(text)
        expect(row.locator(f".{cell}")).to_be_in_viewport()


def test_twenty_alarms_of_one_cancel_are_acknowledged_in_two_actions(
    page: Page, olga: User
) -> None:
    failed(olga, 20)
    page.set_viewport_size({"width": 1280, "height": 800})
    ready(page)
    actions = Actions(allowed=2)
    actions.click(page.locator("#alarms").get_by_role("link", name="View all"))
    actions.click(page.get_by_role("button", name="Acknowledge all 20"))
    expect(page.get_by_role("status").filter(has_text="20 alarms acknowledged.")).to_be_visible()
    assert not Alarm.objects.unacknowledged().exists()
