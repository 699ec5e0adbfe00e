"""The pictures of the documentation: the whole system after a real cancel against the simulator.

`make screenshots` says where they are written.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.supervision.system_process import System
from tests.system.png import with_palette
from tests.system.test_end_to_end import TIMES, sign_in

MAX_PICTURE_BYTES = 150_000
OUTCOME_TIMEOUT_MS = 60_000
WIDE, PHONE = (1280, 860), (390, 844)
SHOTS: dict[str, tuple[tuple[int, int], Literal["light", "dark"]]] = {
    "console": (WIDE, "light"),
    "dialog": (WIDE, "light"),
    "phone-dark": (PHONE, "dark"),
    "request": (WIDE, "light"),
}

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """The system as `make run` starts it."""
    system = System(tmp_path_factory.mktemp("pictures"))
    system.environment |= TIMES
    with system:
        system.wait_until_it_serves()
        yield system


@pytest.fixture(scope="module")
def page(system: System, browser: Browser) -> Iterator[Page]:
    """Olga's console after she has cancelled all orders and every outcome is known."""
    context = browser.new_context(viewport={"width": 1280, "height": 860})
    page = context.new_page()
    sign_in(page, system, "olga")
    page.locator("#cut-all").click()
    page.select_option("#press-pick", "Runaway algorithm")
    page.locator("#dialog [data-press-and-hold]").evaluate("button => button.click()")
    page.locator("#dialog [data-second]").click()
    expect(page.locator("#dialog .batch")).to_be_visible()
    page.keyboard.press("Escape")
    in_flight = page.locator(
        "#rows :is([data-status=REQUESTED], [data-status=SENDING], [data-status=VERIFYING])"
    )
    expect(in_flight).to_have_count(0, timeout=OUTCOME_TIMEOUT_MS)
    yield page
    context.close()


@pytest.mark.parametrize("name", SHOTS)
def test_a_picture_of_the_documentation_can_be_taken(
    system: System, page: Page, tmp_path: Path, name: str
) -> None:
    (width, height), scheme = SHOTS[name]
    page.set_viewport_size({"width": width, "height": height})
    page.emulate_media(color_scheme=scheme)
    page.goto(f"http://127.0.0.1:{system.port}/")
    expect(page.locator("#ready-word")).to_have_text("READY", timeout=60_000)
    if name == "dialog":
        page.locator("#cut-all").click()
        expect(page.locator("#dialog [data-press-and-hold]")).to_be_visible()
    elif name == "request":
        # On a slow machine, orders that come back may still be open at the end elsewhere as well.
        page.locator('[data-exchange-id="COINBASE/LEAVES-3-OPEN"] [data-status=RESIDUAL]').click()
        expect(page.get_by_role("heading", name=re.compile("still open"))).to_be_visible()
    folder = Path(os.environ.get("KILLSWITCH_PICTURES") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    picture = with_palette(page.screenshot(animations="disabled"))
    (folder / f"{name}.png").write_bytes(picture)
    assert 10_000 < len(picture) < MAX_PICTURE_BYTES
