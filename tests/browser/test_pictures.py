"""The pictures of the documentation; `make screenshots` says where they are written."""

import os
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Page, expect

from killswitch.accounts.models import User
from killswitch.readiness.checks import Check, judge
from killswitch.readiness.views import READINESS
from tests.browser import states
from tests.browser.png import with_palette

LARGEST = 150_000  # bytes of a picture that is kept beside the code
WIDE, PHONE = (1280, 860), (390, 844)
SHOTS: dict[str, tuple[str, tuple[int, int], Literal["light", "dark"]]] = {
    "console": ("few", WIDE, "light"),
    "dialog": ("everywhere-asked", WIDE, "light"),
    "phone-dark": ("few", PHONE, "dark"),
    "request": ("request", WIDE, "light"),
}
MEASURED = {"Database": 2.0, "EMS": 84.0, "Workers": 11.0}  # milliseconds
READY = judge(
    tuple(
        Check(name=label.lower(), label=label, ok=True, detail="", milliseconds=milliseconds)
        for label, milliseconds in MEASURED.items()
    )
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the pictures go; nowhere that stays, unless somebody asked for them."""
    made = Path(os.environ.get("KILLSWITCH_PICTURES") or tmp_path)
    made.mkdir(parents=True, exist_ok=True)
    return made


@pytest.fixture(autouse=True)
def _demo(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a person meets it first, with every process at work."""
    settings.DEMO = True
    monkeypatch.setattr(READINESS, "get", lambda: READY)


@pytest.mark.parametrize("name", SHOTS)
def test_a_picture_of_the_documentation_can_be_taken(
    page: Page, olga: User, folder: Path, name: str
) -> None:
    state, (width, height), scheme = SHOTS[name]
    page.set_viewport_size({"width": width, "height": height})
    page.emulate_media(color_scheme=scheme)
    states.SCENES[state](page, olga)
    expect(page.locator("#ready-word")).to_have_text("READY", use_inner_text=True)
    picture = with_palette(page.screenshot(animations="disabled"))
    (folder / f"{name}.png").write_bytes(picture)
    assert 10_000 < len(picture) < LARGEST
