"""Exchanges on the admin pages: what is recorded, refused and never overwritten."""

from typing import Any

import pytest
from django.db.models import ProtectedError
from django.test import Client

from killswitch.accounts.models import Role
from killswitch.alarms.models import Alarm
from killswitch.exchanges.models import Exchange
from killswitch.exchanges.services import save_exchange
from killswitch.runtime.revisions import current
from tests import factories
from tests.accounts.people import data, events
from tests.holds import holding
from tests.markup import html

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]
EXCHANGES = "/admin/exchanges/exchange/"


@pytest.fixture
def ada() -> Client:
    client = Client()
    client.force_login(factories.person(Role.ADMINISTRATOR))
    return client


def _add(client: Client, **fields: Any) -> Any:
    right = {"exchange_id": "KRAKEN/JOHN", "name": "Kraken", "enabled": "on", "position": "3"}
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
    exchange = Exchange.objects.get()
    form = {"exchange_id": "OTHER", "name": "Kraken", "position": "3", "caveat": "Not staking."}
    assert ada.post(f"{EXCHANGES}{exchange.pk}/change/", form).status_code == 302
    (event,) = events("EXCHANGE_CHANGED")
    assert event.exchange_id == "KRAKEN/JOHN"
    assert data(event)["changes"] == {"enabled": [True, False], "caveat": ["", "Not staking."]}
    after = Exchange.objects.get()
    assert after.exchange_id == "KRAKEN/JOHN"
    assert after.revision == current() > exchange.revision


def test_disabling_one_raises_an_alarm_and_enabling_it_again_none(ada: Client) -> None:
    _add(ada)
    exchange = Exchange.objects.get()
    form = {"name": "Kraken", "position": "3"}
    for enabled in ({}, {"enabled": "on"}):
        ada.post(f"{EXCHANGES}{exchange.pk}/change/", form | enabled)
    alarm = Alarm.objects.get()
    assert alarm.title == "KRAKEN/JOHN was disabled by Ada Stone (ada)."
    assert alarm.detail.startswith("Orders there can no longer be cancelled from here.")
    assert alarm.exchange_id == "KRAKEN/JOHN"
    assert len(events("ALARM_RAISED")) == 1


def test_adding_a_disabled_one_raises_none(ada: Client) -> None:
    ada.post(f"{EXCHANGES}add/", {"exchange_id": "KRAKEN", "position": "3"})
    assert not Exchange.objects.get().enabled
    assert not Alarm.objects.exists()


def test_saving_without_a_change_leaves_no_event_and_no_new_revision(ada: Client) -> None:
    _add(ada)
    exchange, before = Exchange.objects.get(), current()
    form = {"name": "Kraken", "enabled": "on", "position": "3"}
    assert ada.post(f"{EXCHANGES}{exchange.pk}/change/", form).status_code == 302
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


def test_an_exchange_is_never_deleted(ada: Client) -> None:
    _add(ada)
    exchange = Exchange.objects.get()
    ada.post(f"{EXCHANGES}{exchange.pk}/delete/", {"post": "yes"})
    ada.post(
        EXCHANGES,
        {"action": "delete_selected", "_selected_action": [str(exchange.pk)], "post": "yes"},
    )
    assert Exchange.objects.filter(pk=exchange.pk).exists()


def test_a_held_one_can_be_disabled_and_everything_says_that_it_stays_held(ada: Client) -> None:
    _add(ada)
    exchange = Exchange.objects.get()
    path = f"{EXCHANGES}{exchange.pk}/change/"
    assert "stays held" not in html(ada.get(path))
    hold = holding.start(factories.person(Role.RISK_OFFICER), exchange)
    stays = (
        "KRAKEN/JOHN stays held: the Hold goes on cancelling what the EMS lists there. No other"
        " cancel can be requested from here."
    )
    assert f"If it is disabled: {stays}" in html(ada.get(path))
    assert ada.post(path, {"name": "Kraken", "position": "3"}).status_code == 302
    assert Alarm.objects.get().detail == stays
    hold.refresh_from_db()
    assert hold.is_active
    assert "stays held" not in html(ada.get(f"{EXCHANGES}add/"))


def test_an_exchange_with_a_hold_cannot_be_removed(ada: Client) -> None:
    exchange = factories.exchange("KRAKEN")
    holding.start(factories.person(Role.RISK_OFFICER), exchange)
    with pytest.raises(ProtectedError):
        exchange.delete()
