"""Which answers travel compressed, and how much of the console arrives."""

import gzip

import pytest
from django.test import Client

from killswitch.accounts.models import User
from killswitch.cancels.states import Status
from killswitch.runtime.revisions import current
from tests import factories
from tests.browser import scenes
from tests.console.press_helpers import HTMX

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]
GZIP = {"Accept-Encoding": "gzip, deflate, br"}
MAX_CONSOLE_BYTES = 25_000


@pytest.mark.parametrize("requested", [False, True])
def test_a_console_with_sixty_exchanges_arrives_in_a_few_packets(
    officer: Client, olga: User, requested: bool
) -> None:
    statuses = (Status.CONFIRMED, Status.REJECTED, Status.RESIDUAL, Status.SENDING)
    for number, exchange in enumerate(factories.exchanges(60)):
        if requested:
            request = factories.press(olga, exchange).requests.get()
            factories.bring(request, statuses[number % 4])
    answer = officer.get("/", headers=GZIP)
    assert answer["Content-Encoding"] == "gzip"
    assert "Accept-Encoding" in answer["Vary"]
    assert gzip.decompress(answer.content).count(b"data-exchange-id=") == 60
    assert len(answer.content) < MAX_CONSOLE_BYTES


def test_a_browser_that_does_not_ask_for_it_gets_plain_pages(officer: Client) -> None:
    answer = officer.get("/")
    assert "Content-Encoding" not in answer
    assert b"<h1" in answer.content


def test_parts_of_a_page_and_polls_are_sent_as_they_are(officer: Client, olga: User) -> None:
    one, *_ = scenes.sixty(olga)
    known = current()
    for path in (
        "/poll/?show=console&known=0",
        f"/poll/?show=console&known={known}",
        f"/exchanges/{one.pk}/cancel-all/",
        "/cancel-all/",
    ):
        assert "Content-Encoding" not in officer.get(path, headers=GZIP | HTMX), path


@pytest.mark.parametrize("path", ["/audit/export.csv", "/audit/export.jsonl"])
def test_the_bytes_of_an_export_stay_what_is_hashed(compliance: Client, path: str) -> None:
    answer = compliance.get(path, headers=GZIP)
    assert answer.status_code == 200
    assert "Content-Encoding" not in answer
    assert answer.streaming


@pytest.mark.parametrize("path", ["/accounts/login/", "/accounts/password/change/"])
def test_pages_of_accounts_are_not_compressed(officer: Client, path: str) -> None:
    assert "Content-Encoding" not in officer.get(path, headers=GZIP)


@pytest.mark.parametrize("path", ["/static/css/page.css", "/static/js/freshness.js"])
def test_static_files_arrive_compressed_and_only_as_a_whole(path: str) -> None:
    browser = Client()
    plain = b"".join(browser.get(path))
    answer = browser.get(path, headers=GZIP)
    assert answer["Content-Encoding"] == "gzip"
    assert gzip.decompress(answer.content) == plain
    assert int(answer["Content-Length"]) == len(answer.content) < len(plain) / 2
    assert "Accept-Encoding" in answer["Vary"]
    etag = {"If-None-Match": answer["ETag"]}
    assert browser.get(path, headers=GZIP | etag).status_code == 304
    part = browser.get(path, headers=GZIP | {"Range": "bytes=0-9"})
    assert (part.status_code, b"".join(part)) == (206, plain[:10])
    assert "Content-Encoding" not in browser.head(path, headers=GZIP)
