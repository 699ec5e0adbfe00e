"""A real browser on real pages; every error in its console fails the test."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.cache import cache
from django.core.servers.basehttp import ServerHandler
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, Page

from killswitch.accounts.models import Role, User
from killswitch.exchanges.models import Observation
from killswitch.readiness.views import READINESS
from killswitch.runtime.revisions import Revision
from tests import factories
from tests.browser import scenes
from tests.conftest import wait_for


@pytest.fixture(scope="package", autouse=True)
def _readiness_of_scenes() -> Iterator[None]:
    """Show the readiness of the scene, also to a request that outlives its test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(READINESS, "get", lambda: scenes.readiness[0])
        yield


@pytest.fixture(autouse=True)
def ready() -> None:
    """The system is ready, until a scene changes that."""
    scenes.readiness[0] = scenes.READY


@pytest.fixture(scope="package")
def _requests_in_progress() -> Iterator[list[None]]:
    """One entry for each request that the server is answering."""
    in_progress: list[None] = []
    run = ServerHandler.run

    def counted(self: Any, application: Any) -> None:
        in_progress.append(None)
        try:
            run(self, application)
        finally:
            in_progress.pop()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ServerHandler, "run", counted)
        yield in_progress


@pytest.fixture(autouse=True)
def _every_request_ends(olga: User, _requests_in_progress: list[None]) -> Iterator[None]:
    """Once the tabs are closed, wait for their last requests before the database is emptied."""
    yield
    wait_for(lambda: not _requests_in_progress, seconds=10)


@pytest.fixture
def olga(transactional_db: None) -> User:
    """A risk officer. The flush after a test empties the rows that migrations made."""
    Revision.objects.get_or_create(id=1)
    Observation.objects.get_or_create(id=1)
    READINESS.forget()
    cache.clear()  # the counters of sign-in limits are no table that the flush knows
    return factories.person(Role.RISK_OFFICER)


class Complaints(list[str]):
    """The errors in the browser's console."""

    forgiven = False

    def forgive(self) -> None:
        """Accept them: the test caused them, and more may come until its page is closed."""
        self.forgiven = True


@pytest.fixture
def complaints() -> Iterator[Complaints]:
    """Empty once the tabs are closed, unless the test has forgiven them."""
    complaints = Complaints()
    yield complaints
    assert complaints.forgiven or complaints == []


@pytest.fixture
def context(browser: Browser, live_server: Any, olga: User) -> Iterator[BrowserContext]:
    """A window in which Olga has signed in."""
    context = browser.new_context(base_url=live_server.url, viewport={"width": 1280, "height": 900})
    sign_in(context, olga, live_server.url)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext, complaints: Complaints) -> Iterator[Page]:
    """A tab that fails its test when anything breaks the content security policy or throws."""
    tab = context.new_page()
    watch(tab, complaints)
    yield tab
    # No request may be on its way to the server when the database is emptied.
    tab.goto("about:blank")
    tab.close()


def sign_in(context: BrowserContext, user: User, url: str) -> None:
    """Give a window the session of a person who has signed in."""
    client = Client()
    client.force_login(user)
    cookie = client.cookies[django_settings.SESSION_COOKIE_NAME]
    context.add_cookies([{"name": cookie.key, "value": cookie.value, "url": url}])


def watch(tab: Page, complaints: Complaints) -> None:
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on(
        "console",
        lambda message: complaints.append(message.text) if message.type == "error" else None,
    )
