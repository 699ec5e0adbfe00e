"""Pages brought into every state they can be in: for axe, for contrast, for pictures."""

import time
from collections.abc import Callable
from datetime import timedelta

from django.conf import settings
from django.utils import timezone
from playwright.sync_api import Page

from killswitch.accounts.models import User
from killswitch.cancels.models import CancelRequest
from killswitch.cancels.states import Status
from tests import factories
from tests.accounts.mfa import codes
from tests.browser import scenes
from tests.holds import holding

Scene = Callable[[Page, User], None]


def few(page: Page, olga: User) -> None:
    scenes.console(olga)
    page.goto("/")


def sixty(page: Page, olga: User) -> None:
    scenes.sixty(olga)
    page.goto("/")


def calm(page: Page, olga: User) -> None:
    factories.exchanges(3)
    page.goto("/")


def stale(page: Page, olga: User) -> None:
    scenes.console(olga)
    factories.observe(ago_s=95)
    page.goto("/")


def not_ready(page: Page, olga: User) -> None:
    scenes.readiness[0] = scenes.NOT_READY
    few(page, olga)
    page.wait_for_selector("#banner:visible")


def not_ready_asked(page: Page, olga: User) -> None:
    scenes.readiness[0] = scenes.NOT_READY
    question(page, olga)
    page.wait_for_selector("[data-dialog-banner]:visible")


def question(page: Page, olga: User) -> None:
    few(page, olga)
    page.locator('[data-exchange-id="BITSTAMP/2574"] a.cut').click()
    page.wait_for_selector("#dialog [name=key]", state="attached")


def everywhere(page: Page, olga: User) -> None:
    few(page, olga)
    page.locator("#cut-all").click()
    page.locator("#dialog [data-press-and-hold]").click()


def everywhere_asked(page: Page, olga: User) -> None:
    few(page, olga)
    page.locator("#cut-all").click()
    page.wait_for_selector("#dialog [data-press-and-hold]")


def pressed(page: Page, olga: User) -> None:
    everywhere(page, olga)
    page.wait_for_timeout(800)  # sooner, at the same place, it would be half of a double click
    page.locator("#dialog [data-second]").click()
    page.wait_for_selector("#dialog .batch")


def no_answer(page: Page, olga: User) -> None:
    question(page, olga)
    page.route("**/cancel-all/", lambda route: route.abort())
    page.locator("#dialog [data-go]").click()
    page.wait_for_selector("#dialog [data-no-answer]")


def lost(page: Page, olga: User) -> None:
    few(page, olga)
    page.wait_for_timeout(1200)
    page.route("**/poll/*", lambda route: route.abort())
    page.wait_for_selector("#banner", timeout=6000)


def record(page: Page, olga: User) -> None:
    scenes.console(olga)
    page.goto(f"/requests/{CancelRequest.objects.get(status='RESIDUAL').uuid}/")


def unknown(page: Page, olga: User) -> None:
    scenes.console(olga)
    page.goto(f"/requests/{CancelRequest.objects.get(status='UNKNOWN').uuid}/")


def requests(page: Page, olga: User) -> None:
    scenes.console(olga)
    page.goto("/requests/")


def batch(page: Page, olga: User) -> None:
    batch = factories.press(olga, *factories.exchanges(5), everywhere=True)
    statuses = ("CONFIRMED", "REJECTED", "RESIDUAL", "SENDING", "UNKNOWN")
    for each, status in zip(batch.requests.order_by("id"), statuses, strict=True):
        factories.bring(each, Status(status))
    page.goto(f"/batches/{batch.uuid}/")


def evidence(page: Page, olga: User) -> None:
    batch(page, olga)
    page.get_by_role("link", name="Evidence pack").click()
    page.wait_for_selector(".pack")


def confirm(page: Page, olga: User) -> None:
    scenes.console(olga, alarms=False)
    page.goto("/cancel-all/")


def alarms(page: Page, olga: User) -> None:
    few(page, olga)
    page.goto("/alarms/")
    page.locator(".alarm-items summary").first.click()


def asleep(page: Page, olga: User) -> None:
    few(page, olga)
    page.route("**/poll/*", lambda _: None)
    page.evaluate("Date.now = ((now) => () => now() + 60000)(Date.now)")
    page.wait_for_selector("#banner.warn")


def signed_out(page: Page, olga: User) -> None:
    question(page, olga)
    page.context.clear_cookies(name=settings.SESSION_COOKIE_NAME)
    page.locator("#dialog [data-go]").click()
    page.wait_for_selector("#dialog [data-signed-out]")


def refused(page: Page, olga: User) -> None:
    question(page, olga)
    page.locator("#dialog [name=key]").evaluate("key => (key.value = 'forged')")
    page.locator("#dialog [data-go]").click()
    page.wait_for_selector("#dialog .notice")


def confirm_one(page: Page, olga: User) -> None:
    one = factories.exchange("KRAKEN/JOHN", orders=14, caveat=factories.CAVEAT)
    page.goto(f"/exchanges/{one.pk}/cancel-all/")


def disabled(page: Page, olga: User) -> None:
    one = factories.exchange("OLD-VENUE", enabled=False)
    page.goto(f"/exchanges/{one.pk}/cancel-all/")


def sign_in(page: Page, olga: User) -> None:
    page.context.clear_cookies()
    page.goto("/accounts/login/")
    page.get_by_label("Name").fill("olga")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_selector(".form-errors")


def sign_out(page: Page, olga: User) -> None:
    page.goto("/accounts/logout/")


def password(page: Page, olga: User) -> None:
    page.goto("/accounts/password/change/")
    page.get_by_role("button", name="Change password").click()


def password_again(page: Page, olga: User) -> None:
    page.goto(codes.SET_UP)
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Continue").click()
    page.wait_for_selector(".form-errors")


def second_factor_off(page: Page, olga: User) -> None:
    page.goto(codes.SECOND_FACTOR)


def setting_up(page: Page, olga: User) -> None:
    password_again(page, olga)
    page.get_by_label("Password").fill(factories.PASSWORD)
    page.get_by_role("button", name="Continue").click()
    page.wait_for_selector("svg.qr")


def setting_up_wrong(page: Page, olga: User) -> None:
    setting_up(page, olga)
    page.get_by_label("Code from the app").fill("000000")
    page.get_by_role("button", name="Turn on").click()
    page.wait_for_selector(".form-errors")


def recovery_codes(page: Page, olga: User) -> None:
    setting_up(page, olga)
    secret = page.locator(".secret").inner_text().replace(" ", "")
    page.get_by_label("Code from the app").fill(codes.code_at(secret, time.time()))
    page.get_by_role("button", name="Turn on").click()
    page.wait_for_selector(".codes")


def second_factor(page: Page, olga: User) -> None:
    recovery_codes(page, olga)
    page.goto(codes.SECOND_FACTOR)


def second_factor_off_asked(page: Page, olga: User) -> None:
    recovery_codes(page, olga)
    page.goto(f"{codes.SECOND_FACTOR}turn-off/")


def recovery_codes_renewed(page: Page, olga: User) -> None:
    recovery_codes(page, olga)
    page.goto(f"{codes.RECOVERY}renew/")


def code(page: Page, olga: User) -> None:
    recovery_codes(page, olga)
    page.context.clear_cookies()
    page.goto("/accounts/login/")
    page.get_by_label("Name").fill("olga")
    page.get_by_label("Password").fill(factories.PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_label("Code").fill("000000")
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_selector(".form-errors")


def forbidden(page: Page, olga: User) -> None:
    page.goto("/audit/")


def empty(page: Page, olga: User) -> None:
    page.goto("/")


def missing(page: Page, olga: User) -> None:
    page.goto("/nowhere/")


def strip(page: Page, olga: User) -> None:
    calm(page, olga)
    page.locator("[data-strip] summary").click()


def exchange(page: Page, olga: User) -> None:
    page.goto(f"/exchanges/{scenes.held(olga).pk}/")
    page.locator(".history summary").click()


def exchange_never_listed(page: Page, olga: User) -> None:
    one = factories.exchange("KRAKNE", enabled=False)
    page.goto(f"/exchanges/{one.pk}/")


def held(page: Page, olga: User) -> None:
    made = scenes.console(olga)
    now = timezone.now()
    started_at = now - holding.HOUR
    holds = [holding.start(olga, exchange, started_at=started_at) for exchange in made[:6]]
    for hold in holds[:4]:
        holding.with_orders(hold)
    factories.change(holds[1], last_read_at=now - timedelta(seconds=25))
    factories.change(holds[2], blind_since=now - timedelta(seconds=20), read_error="HTTP 500")
    holding.request_release(holds[3], olga)
    factories.change(made[5], enabled=False)
    page.goto("/")
    page.wait_for_selector("[data-hold-unread]:visible")


def hold_asked(page: Page, olga: User) -> None:
    few(page, olga)
    page.locator('[data-exchange-id="BITSTAMP/2574"] .holdlink').click()
    page.wait_for_selector("#dialog [name=key]", state="attached")


def hold_started(page: Page, olga: User) -> None:
    hold_asked(page, olga)
    page.wait_for_timeout(800)  # sooner, it would be half of a double click
    page.locator("#dialog [data-go]").click()
    page.wait_for_selector("#dialog .holdblock")


def everywhere_hold(page: Page, olga: User) -> None:
    everywhere_asked(page, olga)
    page.locator("#dialog [name=hold][value=hold]").check()


def release(page: Page, olga: User) -> None:
    one = factories.exchange("KRAKEN/JOHN", orders=14)
    hold = holding.with_orders(holding.start(olga, one, reason="Runaway algorithm: strategy 7"))
    episode = factories.bring(factories.press(olga, one).requests.get(), Status.CONFIRMED)
    hold.episodes.create(number=3, request=episode, orders_seen=4, last_order_at=timezone.now())
    page.goto(f"/exchanges/{one.pk}/release/")


def release_requested(page: Page, olga: User) -> None:
    one = factories.exchange("KRAKEN/JOHN", orders=14)
    hold = holding.with_orders(holding.start(olga, one))
    holding.request_release(hold, holding.ivan())
    page.goto(f"/exchanges/{one.pk}/release/")


def release_refused(page: Page, olga: User) -> None:
    one = factories.exchange("KRAKEN/JOHN", orders=14)
    holding.request_release(holding.start(olga, one), olga)
    page.goto(f"/exchanges/{one.pk}/release/")
    page.locator("[name=act]").evaluate("act => (act.value = 'confirm')")
    page.get_by_role("button", name="Withdraw the request").click()
    page.wait_for_selector("main .notice")


def help_page(page: Page, olga: User) -> None:
    page.goto("/help/#status-UNKNOWN")


def first_day(page: Page, olga: User) -> None:
    page.goto("/help/first-day/")


def menu(page: Page, olga: User) -> None:
    calm(page, olga)
    page.locator(".who summary").click()


def shortcuts(page: Page, olga: User) -> None:
    calm(page, olga)
    page.keyboard.press("?")
    page.wait_for_selector("#shortcuts[open]")


def lost_by_hand(page: Page, olga: User) -> None:
    lost(page, olga)
    page.locator("#banner details summary").click()


SCENES: dict[str, Scene] = {
    "held": held,
    "hold-asked": hold_asked,
    "hold-started": hold_started,
    "everywhere-hold": everywhere_hold,
    "release": release,
    "release-requested": release_requested,
    "release-refused": release_refused,
    "few": few,
    "sixty": sixty,
    "calm": calm,
    "stale": stale,
    "not-ready": not_ready,
    "not-ready-asked": not_ready_asked,
    "question": question,
    "everywhere": everywhere,
    "everywhere-asked": everywhere_asked,
    "pressed": pressed,
    "no-answer": no_answer,
    "lost": lost,
    "request": record,
    "request-unknown": unknown,
    "requests": requests,
    "batch": batch,
    "evidence": evidence,
    "confirm": confirm,
    "exchange": exchange,
    "exchange-never-listed": exchange_never_listed,
    "missing": missing,
    "strip": strip,
    "alarms": alarms,
    "asleep": asleep,
    "signed-out": signed_out,
    "refused": refused,
    "confirm-one": confirm_one,
    "disabled": disabled,
    "sign-in": sign_in,
    "sign-out": sign_out,
    "password": password,
    "password-again": password_again,
    "second-factor-off": second_factor_off,
    "setting-up": setting_up_wrong,
    "recovery-codes": recovery_codes,
    "second-factor": second_factor,
    "second-factor-off-asked": second_factor_off_asked,
    "recovery-codes-renewed": recovery_codes_renewed,
    "code": code,
    "forbidden": forbidden,
    "empty": empty,
    "help": help_page,
    "first-day": first_day,
    "menu": menu,
    "shortcuts": shortcuts,
    "lost-by-hand": lost_by_hand,
}
