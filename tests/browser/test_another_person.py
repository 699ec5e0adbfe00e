"""Another person signs in at the same browser: the open pages say so and send no cancel."""

import re
from typing import Any

from playwright.sync_api import Page, expect

from killswitch.accounts.models import Role, User
from killswitch.cancels.models import Batch
from tests import factories
from tests.browser.conftest import Complaints, sign_in
from tests.browser.test_freshness import ready
from tests.browser.test_gesture import open_question


def test_the_page_of_the_one_before_has_ended(
    page: Page, olga: User, live_server: Any, complaints: Complaints
) -> None:
    factories.exchange("KRAKEN", orders=14)
    ready(page)
    open_question(page, "KRAKEN")
    rita = factories.person(Role.RISK_OFFICER, username="rita", full_name="Rita Moss")
    sign_in(page.context, rita, live_server.url)
    expect(page.locator("[data-dialog-banner]")).to_contain_text(
        "Your session has ended.", timeout=5000
    )
    expect(page.locator("#dialog [data-signed-out]")).to_be_visible()
    page.locator("#dialog .go").click()
    expect(page.locator("#dialog")).to_contain_text(re.compile("[Nn]o cancel was sent"))
    assert not Batch.objects.exists()
    complaints.forgive()
