"""The pictures of the documentation; `make screenshots` says where they are written."""

import os
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Page, expect

from killswitch.accounts.models import User
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


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the pictures go; nowhere that stays, unless somebody asked for them."""
    made = Path(os.environ.get("KILLSWITCH_PICTURES") or tmp_path)
    made.mkdir(parents=True, exist_ok=True)
    return made


@pytest.fixture(autouse=True)
def _demo(settings: Any) -> None:
    """As a person meets it first."""
    settings.KILLSWITCH_ENVIRONMENT = "demo"


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
