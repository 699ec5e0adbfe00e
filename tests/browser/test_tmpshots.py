import os, sys
from pathlib import Path
import pytest
from tests.browser import scenes
from tests.browser.conftest import *

OUT = Path("/tmp/front/shots")
OUT.mkdir(parents=True, exist_ok=True)


def shot(page, name, full=False):
    page.wait_for_timeout(350)
    page.screenshot(path=str(OUT / f"{name}.png"), full_page=full)


def test_shots(browser, live_server, olga, page):
    scenes.console(olga)
    page.goto("/")
    total = []
    for w in (1280, 390, 2560):
        page.set_viewport_size({"width": w, "height": 900})
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            shot(page, f"console-{w}-{scheme}", full=w == 390)
    page.set_viewport_size({"width": 1280, "height": 900})
    page.emulate_media(color_scheme="light")
    page.click("text=Cancel again >> nth=0")
    page.wait_for_selector("#dialog [name=key]", state="attached")
    shot(page, "dialog")
    page.keyboard.press("Escape")
    page.click("#cut-all")
    page.wait_for_selector("#dialog [data-hold]")
    shot(page, "everywhere")
    page.click("#dialog [data-hold]")
    shot(page, "everywhere-tap")
    page.set_viewport_size({"width": 390, "height": 800})
    shot(page, "everywhere-phone")
    page.set_viewport_size({"width": 1280, "height": 900})
    page.click("#dialog [data-second]")
    page.wait_for_selector("#dialog .batch")
    shot(page, "batch-dialog")
    page.keyboard.press("Escape")
    page.click("[data-strip] summary")
    shot(page, "strip")


def test_more(browser, live_server, olga, page):
    scenes.sixty(olga)
    from killswitch.cancels.models import CancelRequest, Batch

    page.goto("/")
    shot(page, "sixty-1280", full=True)
    w = page.evaluate(
        "performance.getEntriesByType('resource').concat(performance.getEntriesByType('navigation')).map(e=>[e.name.split('/').pop(), e.decodedBodySize])"
    )
    print(sum(b for a, b in w if not a.startswith("?")), w)
    page.set_viewport_size({"width": 2560, "height": 1300})
    shot(page, "sixty-2560")
    page.set_viewport_size({"width": 1280, "height": 900})
    page.goto(f"/requests/{CancelRequest.objects.filter(status='RESIDUAL').first().uuid}/")
    shot(page, "request", full=True)
    page.goto(f"/requests/{CancelRequest.objects.filter(status='UNKNOWN').first().uuid}/")
    page.click("details >> text=The answer as it came >> nth=0")
    shot(page, "request-unknown", full=True)
    page.goto("/requests/")
    shot(page, "requests")
    b = scenes.press(olga, *[scenes.exchange(f"E{i}", orders=i) for i in range(5)], everywhere=True)
    from killswitch.cancels.states import Status

    for r, st in zip(
        b.requests.all(), ("CONFIRMED", "CONFIRMED", "REJECTED", "RESIDUAL", "CONFIRMED")
    ):
        scenes.bring(r, Status(st))
    page.goto(f"/batches/{b.uuid}/")
    shot(page, "batch-page", full=True)
    page.goto("/cancel-all/")
    shot(page, "confirm-page")
    page.set_viewport_size({"width": 390, "height": 800})
    page.goto(f"/requests/{CancelRequest.objects.filter(status='RESIDUAL').first().uuid}/")
    shot(page, "request-phone", full=True)
    page.goto("/requests/")
    shot(page, "requests-phone")
    for u in ("/nowhere/", "/poll/x"):
        page.goto(u)
    shot(page, "404-phone")
