"""What axe-core has to say about a page as it stands, in light and in dark."""

from typing import Any, Literal

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

VIOLATIONS = {"resultTypes": ["violations"]}
# All of them in one scheme; in the other, those that look at colours.
RULES: dict[Literal["light", "dark"], dict[str, Any]] = {
    "light": VIOLATIONS,
    "dark": {**VIOLATIONS, "runOnly": ["color-contrast", "link-in-text-block"]},
}
# Colours that are still on their way to the other scheme are nobody's contrast.
SETTLED = """() => Promise.all(document.getAnimations()
  .filter((each) => each instanceof CSSTransition).map((each) => each.finished))"""


def violations(tab: Page) -> list[str]:
    """What axe finds, in both schemes, each with the elements it means.

    axe writes styles of its own, which the policy of our pages refuses: look at the browser's
    complaints before.
    """
    found = []
    for scheme, options in RULES.items():
        tab.emulate_media(color_scheme=scheme)
        tab.evaluate(SETTLED)
        for each in Axe().run(tab, options=options).response["violations"]:
            nodes = [node["html"][:160] for node in each["nodes"]]
            found.append(f"{scheme}: {each['id']}: {each['help']}: {nodes}")
    return found
