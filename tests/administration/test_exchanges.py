"""Exchanges on the pages of administrators: what is recorded, refused and never overwritten."""

from datetime import UTC, datetime
from typing import Any

import pytest
from django.db.models import ProtectedError
from django.test import Client

from killswitch.accounts.models import Role
from killswitch.alarms.models import Alarm
from killswitch.audit.descriptions import describe
from killswitch.exchanges.models import Exchange, ExchangeGroup, UncoveredExchange
from killswitch.exchanges.services import save_exchange
from killswitch.runtime.revisions import current
from tests import factories
from tests.accounts.people import data, events
from tests.failures import full_log
from tests.forms import cut_by_the_browser, read_form, submit
from tests.holds import holding
from tests.markup import html
from tests.threads import run_at_once

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]
EXCHANGES = "/administration/exchanges/"


def _add(client: Client, **fields: Any) -> Any:
    right = {"exchange_id": "KRAKEN/JOHN", "name": "Kraken", "position": "3"}
    return client.post(f"{EXCHANGES}add/", right | fields)


def test_an_exchange_is_added_recorded_and_seen_by_open_pages(ada: Client) -> None:
    before = current()
    assert _add(ada).status_code == 302
    exchange = Exchange.objects.get()
    assert exchange.revision == current() > before
    (event,) = events("EXCHANGE_ADDED")
    assert (event.actor, event.exchange_id) == ("Ada Stone (ada)", "KRAKEN/JOHN")
    assert data(event)["changes"]["position"] == [None, 3]


@pytest.mark.parametrize(
    "exchange_id", ["", "KRA KEN", "KRA\tKEN", "KRA\x7fKEN", "KRA\u00a0KEN", "K\u200bN", "X" * 201]
)
def test_an_id_that_cannot_be_compared_by_eye_is_refused(ada: Client, exchange_id: str) -> None:
    assert _add(ada, exchange_id=exchange_id).status_code == 200
    assert not Exchange.objects.exists()
    assert events("EXCHANGE_ADDED") == []


@pytest.mark.parametrize("exchange_id", ["KRAKEN", "BITSTAMP/2574", "A~.,:;\\!@#$%^&*-_+=B"])
def test_any_other_id_is_stored_as_it_is(ada: Client, exchange_id: str) -> None:
    assert _add(ada, exchange_id=exchange_id).status_code == 302
    assert Exchange.objects.get().exchange_id == exchange_id


def test_the_same_id_twice_is_refused(ada: Client) -> None:
    _add(ada)
    assert _add(ada).status_code == 200
    assert Exchange.objects.count() == 1


def test_a_change_is_recorded_with_old_and_new_values(ada: Client) -> None:
    _add(ada)
    Exchange.objects.update(first_listed_at=datetime.now(UTC))
    exchange = Exchange.objects.get()
    form = {"name": "Kraken", "position": "3", "caveat": "Not staking."}
    form["contact"] = "Desk\r\n+44 20 7946 0000"
    form |= {"emergency_phone": " +44 20  7946 1111", "member_ids": "M1", "session_ids": "S1\tS2"}
    form["what_they_ask"] = "1. Member ID\r\n2. Call back "
    assert submit(ada, f"{EXCHANGES}{exchange.pk}/", **form).status_code == 302
    (event,) = events("EXCHANGE_CHANGED")
    assert event.exchange_id == "KRAKEN/JOHN"
    assert data(event)["changes"] == {
        "caveat": ["", "Not staking."],
        "contact": ["", "Desk +44 20 7946 0000"],
        "emergency_phone": ["", "+44 20 7946 1111"],
        "member_ids": ["", "M1"],
        "session_ids": ["", "S1 S2"],
        "what_they_ask": ["", "1. Member ID\n2. Call back"],
    }
    after = Exchange.objects.get()
    assert (after.exchange_id, after.enabled) == ("KRAKEN/JOHN", True)
    assert after.revision == current() > exchange.revision


def test_disabling_asks_first_and_raises_an_alarm_and_enabling_again_none(ada: Client) -> None:
    exchange = factories.exchange("KRAKEN/JOHN", orders=12)
    path = f"{EXCHANGES}{exchange.pk}/"
    question = html(ada.get(f"{path}disable/"))
    assert "Disable KRAKEN/JOHN?" in question
    assert "12 open orders, as of" in question
    assert "can no longer be cancelled from here" in question
    assert Exchange.objects.get().enabled
    assert ada.post(f"{path}disable/", {"comment": "Venue maintenance"}).status_code == 302
    assert not Exchange.objects.get().enabled
    assert ada.post(f"{path}enable/", {"comment": "Back"}).status_code == 302
    assert Exchange.objects.get().enabled
    alarm = Alarm.objects.get()
    assert alarm.title == "KRAKEN/JOHN was disabled by Ada Stone (ada)."
    assert alarm.detail.startswith("Orders there can no longer be cancelled from here.")
    assert alarm.detail.endswith("Comment: Venue maintenance")
    assert alarm.exchange_id == "KRAKEN/JOHN"
    assert len(events("ALARM_RAISED")) == 1
    off, on = events("EXCHANGE_CHANGED")
    assert data(off)["changes"] == {"enabled": [True, False]}
    assert (data(off)["comment"], data(on)["comment"]) == ("Venue maintenance", "Back")
    assert describe(off) == "enabled yes → no. Comment: “Venue maintenance”"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"orders": None}, "It has an unknown number of open orders."),
        ({"orders": 0}, "It has no open orders that the EMS has ever listed."),
        ({"orders": 1}, "It has 1 open order, as of"),
        ({"orders": 0, "first_listed_at": datetime.now(UTC)}, "It has 0 open orders, as of"),
    ],
)
def test_the_question_claims_no_figure_that_proves_nothing(
    ada: Client, fields: dict[str, Any], words: str
) -> None:
    exchange = factories.exchange("KRAKEN", **fields)
    assert words in html(ada.get(f"{EXCHANGES}{exchange.pk}/disable/"))


@pytest.mark.parametrize("listed", ["never", "earlier", "now"])
def test_the_question_warns_before_an_id_that_was_never_listed_is_enabled(
    ada: Client, listed: str
) -> None:
    first_listed_at = datetime.now(UTC) if listed == "earlier" else None
    exchange = factories.exchange("KRAKEN", enabled=False, first_listed_at=first_listed_at)
    if listed == "now":
        UncoveredExchange.objects.create(exchange_id="KRAKEN", open_orders=1)
    page = html(ada.get(f"{EXCHANGES}{exchange.pk}/enable/"))
    assert ("The EMS has never listed this ID." in page) == (listed == "never")


def test_a_comment_is_optional_and_an_invalid_one_changes_nothing(ada: Client) -> None:
    exchange = factories.exchange("KRAKEN")
    path = f"{EXCHANGES}{exchange.pk}/disable/"
    for comment in ("x" * 501, "bell\x07"):
        page = html(ada.post(path, {"comment": comment}))
        assert 'id="id_comment_error"' in page
        assert Exchange.objects.get().enabled
    assert ada.post(path, {}).status_code == 302
    assert "comment" not in data(events("EXCHANGE_CHANGED")[0])


def test_the_description_of_an_exchange_does_not_enable_or_disable_it(ada: Client) -> None:
    exchange = factories.exchange("KRAKEN", enabled=False)
    form = {"name": "Kraken", "position": "0", "enabled": "on"}
    submit(ada, f"{EXCHANGES}{exchange.pk}/", **form)
    assert not Exchange.objects.get().enabled


def test_saving_without_a_change_leaves_no_event_and_no_new_revision(ada: Client) -> None:
    _add(ada)
    exchange, before = Exchange.objects.get(), current()
    path = f"{EXCHANGES}{exchange.pk}/"
    form = {"exchange_id": "KRAKEN/JOHN", "name": "Kraken", "position": "3"}
    assert submit(ada, path, **form).status_code == 302
    assert ada.post(f"{path}enable/", {"comment": "again"}).status_code == 302
    assert events("EXCHANGE_CHANGED") == []
    assert current() == before


def test_a_change_does_not_overwrite_a_figure_that_the_observer_wrote_meanwhile() -> None:
    Exchange.objects.create(exchange_id="KRAKEN", open_orders=1)
    edited = Exchange.objects.get()
    Exchange.objects.update(open_orders=7)
    edited.name = "Kraken"
    save_exchange(edited, by=factories.person(Role.ADMINISTRATOR).actor, origin={})
    after = Exchange.objects.get()
    assert (after.name, after.open_orders) == ("Kraken", 7)


def test_an_exchange_is_never_deleted_and_the_list_says_why(ada: Client) -> None:
    _add(ada)
    exchange = Exchange.objects.get()
    for act in ("delete", "remove"):
        assert ada.post(f"{EXCHANGES}{exchange.pk}/{act}/", {}).status_code == 404
    assert Exchange.objects.filter(pk=exchange.pk).exists()
    assert "Exchanges are never deleted, because requests and the audit log" in html(
        ada.get(EXCHANGES)
    )


def test_a_held_one_can_be_disabled_and_everything_says_that_it_stays_held(ada: Client) -> None:
    exchange = factories.exchange("KRAKEN/JOHN")
    path = f"{EXCHANGES}{exchange.pk}/disable/"
    assert "stays held" not in html(ada.get(path))
    hold = holding.start(factories.person(Role.RISK_OFFICER), exchange)
    stays = (
        "KRAKEN/JOHN stays held: the Hold keeps cancelling what the EMS lists there. No other"
        " cancel can be requested from here."
    )
    assert stays in html(ada.get(path))
    assert ada.post(path, {}).status_code == 302
    assert Alarm.objects.get().detail == stays
    hold.refresh_from_db()
    assert hold.is_active


def test_nothing_changes_when_the_log_takes_no_event(ada: Client) -> None:
    exchange = factories.exchange("KRAKEN", orders=3)
    before = list(Exchange.objects.values())
    ada.raise_request_exception = False
    with full_log():
        assert _add(ada, exchange_id="BITMEX").status_code == 503
        form = {"name": "Kraken", "position": "3"}
        assert submit(ada, f"{EXCHANGES}{exchange.pk}/", **form).status_code == 503
        assert ada.post(f"{EXCHANGES}{exchange.pk}/disable/", {}).status_code == 503
    assert list(Exchange.objects.values()) == before


def test_an_exchange_with_a_hold_cannot_be_removed(ada: Client) -> None:
    exchange = factories.exchange("KRAKEN")
    holding.start(factories.person(Role.RISK_OFFICER), exchange)
    with pytest.raises(ProtectedError):
        exchange.delete()


class TestIds:
    """An ID that is mistyped would look calm for ever."""

    @pytest.fixture(autouse=True)
    def _listed(self) -> None:
        factories.exchange("KRAKEN", orders=3)
        UncoveredExchange.objects.create(exchange_id="OKEX/NOT-CONFIGURED", open_orders=5)

    @pytest.mark.parametrize(
        ("typed", "named"),
        [
            ("kraken", "KRAKEN exists here already and differs only in letter case"),
            ("kraken", "The EMS has never listed kraken. It lists KRAKEN."),
            ("KRÁKEN", "KRAKEN exists here already and differs only in letter case"),
            ("KRAKEN/", "KRAKEN exists here already and differs only in letter case"),
            ("okex", "The EMS has never listed okex. It lists OKEX/NOT-CONFIGURED."),
            ("OKEX", "The EMS has never listed OKEX. It lists OKEX/NOT-CONFIGURED."),
            ("OKÉX", "The EMS has never listed OKÉX. It lists OKEX/NOT-CONFIGURED."),
            ("okex/JOHN", "The EMS has never listed okex/JOHN. It lists OKEX/NOT-CONFIGURED."),
            ("OKEX/NOTCONFIGURED", "It lists OKEX/NOT-CONFIGURED."),
            ("OKEX//NOT-CONFIGURED", "It lists OKEX/NOT-CONFIGURED."),
            ("KRAKNE", "The EMS has never listed KRAKNE. It lists KRAKEN."),
        ],
    )
    def test_a_doubtful_id_takes_a_tick(self, ada: Client, typed: str, named: str) -> None:
        page = _add(ada, exchange_id=typed)
        assert page.status_code == 200
        text = html(page)
        assert named in text
        assert 'name="anyway"' in text
        assert f'value="{typed}"' in text
        assert not Exchange.objects.filter(exchange_id=typed).exists()
        assert _add(ada, exchange_id=typed, anyway="on").status_code == 302
        assert Exchange.objects.filter(exchange_id=typed).exists()

    @pytest.mark.parametrize("typed", ["BITMEX", "OKEX/JOHN", "KRAKEN/JOHN"])
    def test_one_that_was_never_listed_is_added_with_a_warning(
        self, ada: Client, typed: str
    ) -> None:
        assert _add(ada, exchange_id=typed).status_code == 302
        page = html(ada.get(EXCHANGES))
        assert f"{typed} was added, but the EMS has never listed it." in page
        assert "can be cancelled from now on" not in page

    def test_one_that_the_ems_lists_is_picked_and_added_without_a_warning(
        self, ada: Client
    ) -> None:
        page = html(ada.get(EXCHANGES))
        assert "Listed by the EMS, not enabled here" in page
        assert "?exchange_id=OKEX%2FNOT-CONFIGURED" in page
        form = html(ada.get(f"{EXCHANGES}add/?exchange_id=OKEX%2FNOT-CONFIGURED"))
        assert 'value="OKEX/NOT-CONFIGURED"' in form
        assert _add(ada, exchange_id="OKEX/NOT-CONFIGURED").status_code == 302
        assert "can be cancelled from now on" in html(ada.get(EXCHANGES))

    def test_a_disabled_one_is_enabled_and_not_added_again(self, ada: Client) -> None:
        Exchange.objects.create(exchange_id="OKEX/NOT-CONFIGURED", enabled=False)
        page = html(ada.get(EXCHANGES))
        assert "?exchange_id=" not in page
        assert page.count("/enable/") == 2  # in the pick list and in the list

    def test_one_that_was_enabled_since_the_last_read_is_not_offered(self, ada: Client) -> None:
        Exchange.objects.create(exchange_id="OKEX/NOT-CONFIGURED")
        assert "Listed by the EMS, not enabled here" not in html(ada.get(EXCHANGES))

    def test_an_id_that_cannot_be_set_up_is_listed_without_a_link(self, ada: Client) -> None:
        UncoveredExchange.objects.create(exchange_id="KRA KEN\u202e", open_orders=1)
        page = html(ada.get(EXCHANGES))
        assert "Cannot be added. It contains spaces or invisible characters" in page
        assert "\u202e" not in page

    def test_the_form_explains_account_tags(self, ada: Client) -> None:
        assert "e.g. KRAKEN/JOHN; it is separate from KRAKEN" in html(ada.get(f"{EXCHANGES}add/"))

    def test_the_list_says_what_was_never_listed_instead_of_zero(self, ada: Client) -> None:
        factories.exchange("BITMEX", orders=0)
        row = html(ada.get(EXCHANGES)).split("BITMEX</code>")[1].split("</tr>")[0]
        assert "Never listed by the EMS" in row
        assert "none listed" in row
        assert ">0<" not in row

    def test_a_misspelled_id_is_corrected_before_any_use(self, ada: Client) -> None:
        _add(ada, exchange_id="BITMEXX")
        exchange = Exchange.objects.get(exchange_id="BITMEXX")
        path = f"{EXCHANGES}{exchange.pk}/"
        form = {"exchange_id": "BITMEX", "name": "", "position": "0"}
        refused = html(submit(ada, path, **form))
        assert "The ID can no longer be changed." in refused
        assert "disable it to correct the ID" in refused
        assert Exchange.objects.filter(exchange_id="BITMEXX").exists()
        ada.post(f"{path}disable/", {})
        Exchange.objects.filter(pk=exchange.pk).update(open_orders=0, seen_at=datetime.now(UTC))
        assert submit(ada, path, **form).status_code == 302
        row = Exchange.objects.get(pk=exchange.pk)
        assert (row.exchange_id, row.open_orders, row.seen_at) == ("BITMEX", None, None)
        *_, event = events("EXCHANGE_CHANGED")
        assert data(event)["changes"]["exchange_id"] == ["BITMEXX", "BITMEX"]
        assert event.exchange_id == "BITMEX"

    def test_a_correction_of_letter_case_is_not_compared_with_itself(self, ada: Client) -> None:
        exchange = Exchange.objects.create(exchange_id="bitmex", enabled=False)
        UncoveredExchange.objects.create(exchange_id="BITMEX", open_orders=1)
        form = {"exchange_id": "BITMEX", "name": "", "position": "0"}
        assert submit(ada, f"{EXCHANGES}{exchange.pk}/", **form).status_code == 302
        assert Exchange.objects.get(pk=exchange.pk).exchange_id == "BITMEX"

    def test_ids_of_the_ems_in_an_error_act_on_no_screen(self, ada: Client) -> None:
        UncoveredExchange.objects.create(exchange_id="POLONIEX\u202e", open_orders=1)
        page = html(_add(ada, exchange_id="POLONIE"))
        assert "It lists POLONIEX\\u202e." in page
        assert "\u202e" not in page

    @pytest.mark.parametrize("use", ["listed", "requested", "held", "grouped"])
    def test_an_id_that_was_used_stays(self, ada: Client, use: str) -> None:
        listed = datetime.now(UTC) if use == "listed" else None
        exchange = factories.exchange("BITMEXX", first_listed_at=listed)
        olga = factories.person(Role.RISK_OFFICER)
        if use == "requested":
            factories.press(olga, exchange)
        elif use == "held":
            holding.start(olga, exchange)
        elif use == "grouped":
            ExchangeGroup.objects.create(name="Desk A").exchanges.add(exchange)
        Exchange.objects.filter(pk=exchange.pk).update(enabled=False)
        path = f"{EXCHANGES}{exchange.pk}/"
        assert "The ID cannot be changed here." in html(ada.get(path))
        page = submit(ada, path, exchange_id="BITMEX", name="New name", anyway="on")
        assert "The ID can no longer be changed." in html(page)
        assert not Exchange.objects.filter(name="New name").exists()
        assert Exchange.objects.get(pk=exchange.pk).exchange_id == "BITMEXX"


def test_a_page_that_is_out_of_date_overwrites_nothing_without_saying_so(ada: Client) -> None:
    exchange = factories.exchange("KRAKEN", name="Kraken", contact="Old desk")
    path = f"{EXCHANGES}{exchange.pk}/"
    seen = read_form(ada.get(path))
    submit(ada, path, contact="+44 20 7946 0000", caveat="Not staking.")
    page = ada.post(path, seen | {"contact": "+44 20 7946 1111"})
    text = html(page)
    assert text.count("This has changed since you opened the page.") == 2
    assert "It is now “+44 20 7946 0000”. Save again to replace that with yours." in text
    assert "It is now “Not staking.”.</li>" in text
    exchange.refresh_from_db()
    assert exchange.contact == "+44 20 7946 0000"
    again = read_form(page)
    assert again["contact"] == ["+44 20 7946 1111"]  # what was typed is kept
    assert again["caveat"] == ["Not staking."]  # and so is what nobody typed over
    assert ada.post(path, again).status_code == 302
    *_, event = events("EXCHANGE_CHANGED")
    assert data(event)["changes"] == {"contact": ["+44 20 7946 0000", "+44 20 7946 1111"]}


def test_white_space_that_a_field_removes_is_no_change_of_somebody_else(ada: Client) -> None:
    exchange = factories.exchange("KRAKEN", name=" Kraken  EU ")  # as the configuration may have it
    path = f"{EXCHANGES}{exchange.pk}/"
    assert submit(ada, path, caveat="Not staking.").status_code == 302


def test_a_form_that_does_not_say_what_it_showed_is_refused(ada: Client) -> None:
    exchange = factories.exchange("KRAKEN", name="Kraken")
    form = {"name": "Other", "position": "0", "caveat": "", "contact": ""}
    page = ada.post(f"{EXCHANGES}{exchange.pk}/", form)
    assert "It is now “Kraken”." in html(page)
    assert not events("EXCHANGE_CHANGED")


def test_no_browser_cuts_what_is_pasted(ada: Client) -> None:
    exchange = factories.exchange("KRAKEN")
    paths = (f"{EXCHANGES}add/", f"{EXCHANGES}{exchange.pk}/", f"{EXCHANGES}{exchange.pk}/disable/")
    others = ("/administration/groups/add/", "/administration/runbook/")
    for path in (*paths, *others):
        assert cut_by_the_browser(ada.get(path)) == [], path
    page = html(_add(ada, exchange_id="X" * 201))
    assert "Use at most 200 characters. This has 201." in page
    assert f'value="{"X" * 201}"' in page


@pytest.mark.django_db(transaction=True)
def test_two_clicks_on_add_add_one_exchange_and_fail_in_words(ada: Client) -> None:
    answers = run_at_once(lambda: _add(ada), lambda: _add(ada))
    assert sorted(answer.status_code for answer in answers) == [200, 302]
    refused = next(answer for answer in answers if answer.status_code == 200)
    assert "If you have just added it, it was saved." in html(refused)
    assert len(events("EXCHANGE_ADDED")) == 1
