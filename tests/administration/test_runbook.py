"""The runbook: kept by administrators, recorded, and shown where a cancel has failed."""

from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from killswitch.accounts.models import Role
from killswitch.audit.actors import SYSTEM
from killswitch.audit.descriptions import describe
from killswitch.audit.needing_review import needs_review
from killswitch.audit.verification.findings import Proof, no_progress
from killswitch.audit.verification.verify import verify
from killswitch.cancels.states import Status
from killswitch.exchanges.models import Runbook
from killswitch.exchanges.reconciliation import REPLAYED_RUNBOOK
from killswitch.exchanges.runbook import runbook_text, save_runbook
from killswitch.runtime.revisions import current
from tests import factories
from tests.accounts.people import data, events, signed_in
from tests.audit.assertions import assert_found, assert_good
from tests.failures import failing, full_log
from tests.forms import read_form, submit
from tests.markup import html

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]
RUNBOOK = "/administration/runbook/"
TEXT = "Call the desk:\n  +44 20 7946 0000 <b>first</b>"
SHOWN = "+44 20 7946 0000 &lt;b&gt;first&lt;/b&gt;"


@pytest.fixture(autouse=True)
def _home(settings: Any, tmp_path: Any) -> None:
    settings.KILLSWITCH_HOME = tmp_path


def test_the_text_is_kept_with_its_line_breaks_and_recorded(ada: Client) -> None:
    assert submit(ada, RUNBOOK, text=TEXT.replace("\n", "\r\n") + "  \r\n\r\n").status_code == 302
    row = Runbook.objects.get(pk=1)
    assert (row.text, row.revision) == (TEXT, current())
    assert submit(ada, RUNBOOK, text=TEXT.replace("\n", "\r")).status_code == 302
    assert submit(ada, RUNBOOK, text="").status_code == 302
    first, second = events("RUNBOOK_CHANGED")
    assert (first.actor, data(first)["changes"]) == ("Ada Stone (ada)", {"text": ["", TEXT]})
    assert data(first)["address"] == "127.0.0.1"
    assert data(second)["changes"] == {"text": [TEXT, ""]}
    assert describe(first).startswith("Now 46 characters, before 0: “Call the desk: +44 20")
    assert describe(second) == "The text was removed. It had 46 characters."
    assert needs_review(first)
    assert list(REPLAYED_RUNBOOK.discrepancies(None, no_progress)) == []


@pytest.mark.parametrize("text", ["x" * 5001, "bell\x07", "turned\u202e"])
def test_an_invalid_text_is_refused_and_kept_in_the_form(ada: Client, text: str) -> None:
    page = html(submit(ada, RUNBOOK, text=text))
    assert 'id="id_text_error"' in page
    assert text[:4] in page
    assert not Runbook.objects.exists()


def test_the_line_breaks_of_a_browser_count_once(ada: Client) -> None:
    assert submit(ada, RUNBOOK, text="a\r\n" * 2499 + "ab").status_code == 302
    assert len(Runbook.objects.get().text) == 5000


def test_nothing_changes_when_the_log_takes_no_event(ada: Client) -> None:
    save_runbook(TEXT, by=SYSTEM, origin={})
    ada.raise_request_exception = False
    with full_log():
        assert submit(ada, RUNBOOK, text="other").status_code == 503
    assert runbook_text() == TEXT


def test_a_text_changed_past_the_product_is_detected() -> None:
    save_runbook(TEXT, by=SYSTEM, origin={})
    assert_good(verify())
    Runbook.objects.update(text="Call nobody.")
    assert_found(verify(), Proof.TABLES, "runbook 1", "text")
    Runbook.objects.all().delete()
    assert_found(verify(), Proof.TABLES, "runbook 1 was deleted")


@pytest.mark.parametrize("status", [Status.REJECTED, Status.UNKNOWN, Status.RESIDUAL])
def test_a_failed_cancel_shows_whom_to_call(status: Status) -> None:
    save_runbook(TEXT, by=SYSTEM, origin={})
    browser = signed_in(Role.RISK_OFFICER)
    request = _ended(status, contact="Kraken desk +1 555 0100")
    page = html(browser.get(f"/requests/{request.uuid}/"))
    article = page.split("<article")[1]
    assert "Kraken desk +1 555 0100" in article
    assert SHOWN in article
    assert f'href="/telephone-cards/{request.configured_exchange_id}/"' in article


def test_a_confirmed_one_does_not() -> None:
    save_runbook(TEXT, by=SYSTEM, origin={})
    browser = signed_in(Role.RISK_OFFICER)
    request = _ended(Status.CONFIRMED, contact="Kraken desk")
    article = html(browser.get(f"/requests/{request.uuid}/")).split("<article")[1]
    assert "Kraken desk" not in article
    assert SHOWN not in article
    assert "telephone-cards" not in article.split("</article>")[0]


def test_it_is_at_the_foot_of_the_console_and_with_the_manual_commands() -> None:
    exchange = factories.exchange("KRAKEN", contact="Kraken desk +1 555 0100")
    browser = signed_in(Role.RISK_OFFICER)
    without_contact = factories.exchange("OKEX")
    for path in ("/", f"/exchanges/{without_contact.pk}/cancel-all/"):
        assert 'class="runbook"' not in html(browser.get(path))
    save_runbook(TEXT, by=SYSTEM, origin={})
    with CaptureQueriesContext(connection) as captured:
        page = html(browser.get("/"))
    reads = [row for row in captured if Runbook._meta.db_table in row["sql"]]
    assert len(reads) == 1, "it is read once for all its places"
    assert SHOWN in page.split("<footer>")[1]
    assert SHOWN in page.split("data-by-hand")[1].split("</details>")[0]
    page = html(browser.get(f"/exchanges/{exchange.pk}/cancel-all/"))
    way = page.split('class="way"')[1].split("</details>")[0]
    assert SHOWN in way
    assert "Kraken desk +1 555 0100" in way


def test_what_is_not_recorded_shows_it_as_well() -> None:
    exchange = factories.exchange("KRAKEN", contact="Kraken desk +1 555 0100")
    save_runbook(TEXT, by=SYSTEM, origin={})
    browser = signed_in(Role.RISK_OFFICER)
    path = f"/exchanges/{exchange.pk}/cancel-all/"
    key = html(browser.get(path)).split('name="key" value="')[1].split('"')[0]
    for headers in ({}, {"HX-Request": "true"}):
        with full_log():
            page = html(browser.post(path, {"key": key}, headers=headers))
        assert "Not recorded" in page
        assert SHOWN in page
        assert "Kraken desk +1 555 0100" in page


def test_while_the_database_is_gone_the_last_text_is_shown() -> None:
    save_runbook(TEXT, by=SYSTEM, origin={})
    assert runbook_text() == TEXT
    with failing("django.db.models.query.QuerySet.first", OperationalError("gone")):
        assert runbook_text() == TEXT
        with pytest.raises(OperationalError):
            runbook_text(lock=True)


def _ended(status: Status, **fields: Any) -> Any:
    exchange = factories.exchange("KRAKEN", orders=3, **fields)
    batch = factories.press(factories.person(Role.RISK_OFFICER, username="ivan"), exchange)
    request = batch.requests.get()
    factories.bring(request, status, orders=3)
    return request


def test_a_page_that_is_out_of_date_does_not_replace_a_newer_text(ada: Client) -> None:
    submit(ada, RUNBOOK, text="Call\nthe desk.")
    seen = read_form(ada.get(RUNBOOK))
    submit(ada, RUNBOOK, text="Call the desk.\nThen the operator.")
    lines = {name: [text.replace("\n", "\r\n") for text in texts] for name, texts in seen.items()}
    untouched = html(ada.post(RUNBOOK, lines))  # as a browser sends line breaks
    assert "Then the operator.</textarea>" in untouched
    assert "Save again" not in untouched
    page = ada.post(RUNBOOK, seen | {"text": ["My own text"]})
    assert "It is now “Call the desk. Then the operator.”." in html(page)
    assert runbook_text() == "Call the desk.\nThen the operator."
    assert read_form(page)["text"] == ["My own text"]
    assert ada.post(RUNBOOK, read_form(page)).status_code == 302
    assert runbook_text() == "My own text"


def test_a_text_typed_while_the_session_ended_is_shown_to_be_copied(ada: Client) -> None:
    seen = read_form(ada.get(RUNBOOK))
    ada.session.flush()
    page = ada.post(RUNBOOK, seen | {"text": [TEXT]})
    text = html(page)
    assert page.status_code == 200  # like every form that is refused
    assert "Nothing was saved" in text
    assert SHOWN in text
    assert 'href="/accounts/login/?next=%2Fadministration%2Frunbook%2F"' in text
    assert runbook_text() == ""
    assert ada.post(RUNBOOK, read_form(ada.get("/accounts/login/"))).status_code == 302
