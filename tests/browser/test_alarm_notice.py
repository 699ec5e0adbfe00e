"""Alarms in a browser: the line that moves nothing, the list, sound and notifications."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from killswitch.accounts.models import User
from killswitch.alarms.models import Alarm, AlarmKind
from killswitch.cancels.states import Status
from tests import factories
from tests.alarms.conftest import alarm

__all__ = ["alarm"]

Raise = Callable[..., Alarm]

# Counts what the page has sounded and shown; the event is the page's own.
LISTEN = """
window.notices = [];
document.addEventListener("alarm-notice", ({ detail }) => window.notices.push(detail));
"""


@pytest.fixture
def context(context: BrowserContext) -> BrowserContext:
    context.add_init_script(LISTEN)
    return context


def notices(page: Page) -> Any:
    return page.evaluate("window.notices")


def wait_for(page: Page, count: str, *, number: int) -> None:
    """Wait until an expression has this value; the pages forbid `wait_for_function` its eval."""
    for _ in range(100):
        if page.evaluate(count) == number:
            return
        page.wait_for_timeout(100)
    assert page.evaluate(count) == number


def opened(page: Page, path: str = "/") -> Page:
    page.goto(path)
    expect(page.locator("[data-session-ends]")).not_to_be_empty()
    return page


def places_of_notice_buttons(page: Page) -> list[Any]:
    buttons = page.locator("#alarms [data-notice]")
    return [buttons.nth(number).bounding_box() for number in range(buttons.count())]


def height(page: Page) -> float:
    return float(page.evaluate("document.getElementById('alarms').offsetHeight"))


@pytest.mark.parametrize("width", [360, 768, 1280, 1600, 2560])
def test_the_line_is_as_high_with_any_alarm_as_without_and_moves_nothing(
    page: Page, olga: User, alarm: Raise, width: int
) -> None:
    factories.exchanges(2)
    page.set_viewport_size({"width": width, "height": 900})
    opened(page)
    before = height(page), page.locator("#everywhere").bounding_box()
    notice_buttons = places_of_notice_buttons(page)
    assert before[0] <= 48
    alarm(exchange_id="KRAKEN", title="KRAKEN: " + "rejected " * 30, detail="d " * 900)
    expect(page.locator("#alarms .alarm-text")).to_contain_text("1 kill alarm")
    assert (height(page), page.locator("#everywhere").bounding_box()) == before
    assert places_of_notice_buttons(page) == notice_buttons
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    # On a phone its words are cut off: it is acknowledged in the list, which has them whole.
    button = page.locator("#alarms .view" if width < 720 else "#alarms .ack")
    box = button.bounding_box()
    assert box
    assert box["height"] >= (44 if width < 720 else 24)
    page.wait_for_timeout(700)  # sooner, the click might have been meant for another alarm
    button.click()
    if width < 720:
        page.locator(".alarm-items .ack").click()
    expect(page.locator("#alarms .alarm")).to_have_count(0)
    assert height(page) == before[0]


def test_many_are_acknowledged_in_two_clicks(page: Page, olga: User) -> None:
    batch = factories.press(olga, *factories.exchanges(12))
    for request in batch.requests.all():
        factories.bring(request, Status.REJECTED)
    opened(page)
    page.get_by_role("link", name="View all").click()
    page.get_by_role("button", name="Acknowledge all 12").click()
    expect(page.get_by_role("status").filter(has_text="12 alarms acknowledged.")).to_be_visible()
    assert not Alarm.objects.unacknowledged().exists()


def test_enter_in_the_note_acknowledges_only_what_is_selected(
    page: Page, olga: User, alarm: Raise
) -> None:
    first = alarm("one", title="One.")
    alarm("two", title="Two.")
    opened(page, "/alarms/")
    page.locator(f"#alarm-{first.pk} input").check()
    note = page.get_by_label("Note (optional)")
    note.fill("Desk called")
    alarm("three", title="Three.")
    expect(page.locator("#alarm-list")).to_contain_text("Three.")
    expect(note).to_have_value("Desk called")
    expect(page.locator(f"#alarm-{first.pk} input")).to_be_checked()
    page.wait_for_timeout(700)
    note.press("Enter")
    expect(page.locator("#history")).to_contain_text("“Desk called”")
    first.refresh_from_db()
    assert first.note == "Desk called"
    assert Alarm.objects.unacknowledged().count() == 2


def test_a_click_on_a_list_that_has_just_changed_is_not_used_and_says_so(
    page: Page, olga: User, alarm: Raise
) -> None:
    alarm("one")
    opened(page, "/alarms/")
    page.evaluate(
        """() => new MutationObserver((_, self) => {
          self.disconnect();
          setTimeout(() => document.querySelector("#alarm-list [name=only]").click(), 30);
        }).observe(document.getElementById("alarm-groups"), { childList: true, subtree: true })"""
    )
    alarm("two")
    expect(page.locator("#banner")).to_contain_text("That click acknowledged nothing.")
    assert Alarm.objects.unacknowledged().count() == 2


def test_sound_is_off_until_it_is_asked_for_and_differs_for_kill_alarms(
    page: Page, olga: User, alarm: Raise
) -> None:
    opened(page)
    alarm("before")
    expect(page.locator("#alarms .alarm")).to_be_visible()
    page.wait_for_timeout(1200)
    assert notices(page) == []
    page.locator("#alarms [data-notice=sound]").click()
    expect(page.locator("#alarms [data-notice=sound]")).to_have_text("Sound: on")
    page.wait_for_timeout(1200)
    assert notices(page) == [], "what is on the screen already is not new"
    alarm("notice", kind=AlarmKind.PEOPLE)
    wait_for(page, "window.notices.length", number=1)
    alarm("kill")
    wait_for(page, "window.notices.length", number=2)
    assert notices(page) == [
        {"kind": "sound", "pattern": "other"},
        {"kind": "sound", "pattern": "kill"},
    ]
    # Again after 30 seconds, while a kill alarm is not acknowledged.
    page.evaluate("localStorage.setItem('alarm-notice-sounded-at', Date.now() - 30001)")
    wait_for(page, "window.notices.length", number=3)
    Alarm.objects.filter(kind=AlarmKind.OUTCOME).delete()
    alarm("another", kind=AlarmKind.PEOPLE)
    wait_for(page, "window.notices.length", number=4)
    page.evaluate("localStorage.setItem('alarm-notice-sounded-at', 0)")
    page.wait_for_timeout(1500)
    assert len(notices(page)) == 4, "notices are not repeated"
    page.locator("#alarms [data-notice=sound]").click()
    expect(page.locator("#alarms [data-notice=sound]")).to_have_text("Sound: off")


def test_several_tabs_sound_once(context: BrowserContext, olga: User, alarm: Raise) -> None:
    tabs = [opened(context.new_page()) for _ in range(3)]
    tabs[0].locator("#alarms [data-notice=sound]").click()
    for tab in tabs:
        tab.locator("h2").first.click()  # any click lets a page play
        expect(tab.locator("#alarms [data-notice=sound]")).to_have_text("Sound: on")
    alarm("kill")
    for tab in tabs:
        expect(tab.locator("#alarms .alarm")).to_be_visible()
    tabs[0].wait_for_timeout(2500)
    assert [len(notices(tab)) for tab in tabs].count(1) == 1
    assert sum(len(notices(tab)) for tab in tabs) == 1
    for tab in tabs:
        tab.goto("about:blank")
        tab.close()


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_what_is_on_and_does_not_work_is_shown_where_the_alarm_leaves_room(
    page: Page, olga: User, alarm: Raise, width: int
) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.add_init_script(
        """Object.defineProperty(AudioContext.prototype, "state", { get: () => "suspended" })"""
    )
    opened(page)
    for kind in ("sound", "desktop"):
        page.evaluate(f"localStorage.setItem('alarm-notice-{kind}', 'on')")
    opened(page)
    sound, desktop = (
        page.locator(f"#alarms [data-notice={kind}]") for kind in ("sound", "desktop")
    )
    expect(sound).to_have_text("Click to enable sound")
    expect(sound).to_be_visible()
    expect(desktop).to_have_text("Desktop notifications are blocked")
    expect(desktop).to_be_visible(visible=width > 1000)
    before = height(page), places_of_notice_buttons(page)
    alarm("kill")
    text = page.locator("#alarms .alarm-text").bounding_box()
    assert text
    assert text["width"] > 70
    page.wait_for_timeout(1200)  # a poll writes the buttons anew
    assert (height(page), places_of_notice_buttons(page)) == before
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


def test_a_notification_names_the_alarm_and_focuses_the_page(
    page: Page, context: BrowserContext, olga: User, alarm: Raise
) -> None:
    # The headless browser has no desktop: this is only the interface that shows one.
    page.add_init_script(
        """window.shown = [];
        window.Notification = class extends EventTarget {
          static permission = "default";
          static async requestPermission() { Notification.permission = "granted"; }
          constructor(title, options) { super(); window.shown.push([title, options, this]); }
          close() {}
        };
        window.focus = () => (window.focused = true);"""
    )
    opened(page)
    alarm("silent")
    expect(page.locator("#alarms .alarm")).to_be_visible()
    assert page.evaluate("Notification.permission") == "default", "asked for by a click only"
    page.goto("/alarms/")
    page.locator(".alarm-heading [data-notice=desktop]").click()
    expect(page.locator(".alarm-heading [data-notice=desktop]")).to_have_text(
        "Desktop notifications: on"
    )
    alarm("r-1", title="KRAKEN: outcome unknown.")
    wait_for(page, "window.shown.length", number=1)
    title, options, _ = page.evaluate("window.shown[0]")
    assert (title, options["body"]) == ("Kill alarm", "KRAKEN: outcome unknown.")
    page.evaluate("window.shown[0][2].dispatchEvent(new Event('click'))")
    assert page.evaluate("window.focused")
    page.wait_for_timeout(1500)
    assert page.evaluate("window.shown.length") == 1
