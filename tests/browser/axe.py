"""The violations that axe-core finds on a page, in light and in dark."""

from typing import Any, Literal

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

VIOLATIONS = {"resultTypes": ["violations"]}
# All of them in one scheme; in the other, those that look at colours.
RULES: dict[Literal["light", "dark"], dict[str, Any]] = {
    "light": VIOLATIONS,
    "dark": {**VIOLATIONS, "runOnly": ["color-contrast", "link-in-text-block"]},
}
# Colours in transition to the other scheme have a contrast that no person sees.
SETTLED = """() => Promise.all(document.getAnimations()
  .filter((each) => each instanceof CSSTransition).map((each) => each.finished))"""


def violations(tab: Page) -> list[str]:
    """Return the violations in both schemes, each with its elements.

    axe writes styles of its own, which the policy of our pages refuses: check the browser's
    complaints before.
    """
    violations = []
    for scheme, options in RULES.items():
        tab.emulate_media(color_scheme=scheme)
        tab.evaluate(SETTLED)
        for violation in Axe().run(tab, options=options).response["violations"]:
            nodes = [node["html"][:160] for node in violation["nodes"]]
            violations.append(f"{scheme}: {violation['id']}: {violation['help']}: {nodes}")
    return violations
