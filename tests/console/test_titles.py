"""Every page has a title by which its tab is found among others."""

import re

import pytest
from django.test import Client

from killswitch.accounts.models import Role, User
from killswitch.audit.models import AuditEvent
from killswitch.cancels.states import Status
from tests import factories
from tests.holds import holding
from tests.markup import html

pytestmark = pytest.mark.django_db
FORM = re.compile(r"[^·]+ · Kill switch · REAL EMS")


def title(browser: Client, path: str) -> str:
    page = html(browser.get(path))
    text = re.search(r"<title>(.*?)</title>", page, re.DOTALL)
    assert text
    return re.sub(r"^\(\d+\) ", "", " ".join(text[1].split()))


def test_every_page_names_itself_the_product_and_the_environment(
    officer: Client, compliance: Client, olga: User
) -> None:
    exchange = factories.exchange("KRAKEN/JOHN")
    batch = factories.press(olga, exchange)
    request = batch.requests.get()
    factories.bring(request, Status.CONFIRMED)
    holding.start(olga, exchange)
    by_officer = {
        "/": "Console",
        "/requests/": "Requests",
        f"/requests/?exchange={exchange.pk}": "Requests: on KRAKEN/JOHN",
        f"/requests/{request.uuid}/": "Cancel all on KRAKEN/JOHN, \\d\\d:\\d\\d:\\d\\d UTC",
        f"/batches/{batch.uuid}/": "Cancel all on KRAKEN/JOHN, \\d\\d:\\d\\d:\\d\\d UTC",
        "/cancel-all/": "Cancel all on 1 exchange\\?",
        f"/exchanges/{exchange.pk}/": "KRAKEN/JOHN",
        f"/exchanges/{exchange.pk}/cancel-all/": "Cancel all on KRAKEN/JOHN\\?",
        f"/exchanges/{exchange.pk}/hold/": "Hold KRAKEN/JOHN",
        f"/exchanges/{exchange.pk}/release/": "Release KRAKEN/JOHN",
        "/telephone-cards/": "Telephone cards",
        f"/telephone-cards/{exchange.pk}/": "Telephone card: KRAKEN/JOHN",
        "/help/": "Help",
        "/help/first-day/": "Your first day",
        "/accounts/password/change/": "Change your password",
        "/accounts/second-factor/": "Second factor",
        "/accounts/logout/": "Sign out",
        "/nowhere/": "Page not found",
        "/audit/": "Your role does not allow this",
    }
    for path, name in by_officer.items():
        assert re.fullmatch(f"{name} · Kill switch · REAL EMS", title(officer, path)), path
    seq = AuditEvent.objects.order_by("-seq")[0].seq
    paths = ("/audit/", "/audit/review/", "/audit/sign-offs/", "/audit/outcomes/")
    names = [title(compliance, path) for path in (*paths, f"/audit/events/{seq}/")]
    assert all(FORM.fullmatch(name) for name in names), names
    assert len(set(names)) == len(names)
    assert f"Event {seq}: " in names[-1]


def test_the_pages_of_a_cancel_on_several_exchanges_say_on_how_many(
    officer: Client, olga: User
) -> None:
    batch = factories.press(olga, *factories.exchanges(3))
    assert title(officer, f"/batches/{batch.uuid}/").startswith("Cancel all on 3 exchanges, ")
    assert title(officer, "/cancel-all/").startswith("Cancel all on 3 exchanges?")


def test_the_pages_of_administrators_have_such_titles_too() -> None:
    ada = Client()
    ada.force_login(factories.person(Role.ADMINISTRATOR))
    pages = ("exchanges/", "exchanges/add/", "groups/", "people/", "runbook/")
    for path in (f"/administration/{page}" for page in pages):
        assert FORM.fullmatch(title(ada, path)), path
