"""Groups of exchanges: what is recorded, refused, described and reconciled."""

from typing import Any

import pytest
from django.test import Client

from killswitch.administration.forms import GroupForm
from killswitch.audit.actors import SYSTEM
from killswitch.audit.descriptions import describe
from killswitch.audit.needing_review import needs_review
from killswitch.audit.verification.findings import Proof, no_progress
from killswitch.audit.verification.verify import verify
from killswitch.exchanges.groups import remove_group, save_group
from killswitch.exchanges.models import NAME_TAKEN, Exchange, ExchangeGroup
from killswitch.exchanges.reconciliation import REPLAYED_GROUPS
from killswitch.exchanges.registry import ExchangeConfig, add_missing
from killswitch.runtime.revisions import current
from tests.accounts.people import data, events
from tests.audit.assertions import assert_found, assert_good
from tests.failures import full_log
from tests.forms import read_form, submit
from tests.markup import html
from tests.threads import run_at_once

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]
GROUPS = "/administration/groups/"
KINDS = ("GROUP_ADDED", "GROUP_CHANGED", "GROUP_REMOVED")


@pytest.fixture(autouse=True)
def exchanges(settings: Any, tmp_path: Any) -> list[Exchange]:
    settings.KILLSWITCH_HOME = tmp_path
    for name in ("OKEX", "KRAKEN", "BITMEX"):  # not in the order of the IDs
        add_missing([ExchangeConfig(exchange_id=name)])
    return list(Exchange.objects.order_by("exchange_id"))


def _save(client: Client, where: str, name: str, *exchanges: Exchange, position: int = 0) -> Any:
    pks = [str(exchange.pk) for exchange in exchanges]
    return submit(client, GROUPS + where, name=name, position=str(position), exchanges=pks)


def test_a_group_is_added_changed_and_removed_with_its_members_before_and_after(
    ada: Client, exchanges: list[Exchange]
) -> None:
    bitmex, kraken, okex = exchanges
    before = current()
    assert _save(ada, "add/", "Desk A", kraken, bitmex).status_code == 302
    group = ExchangeGroup.objects.get()
    assert group.revision == current() > before
    assert _save(ada, f"{group.pk}/", "Desk B", kraken, okex, position=2).status_code == 302
    assert list(REPLAYED_GROUPS.discrepancies(None, no_progress)) == []
    page = html(ada.get(GROUPS))
    assert page.index("<code>KRAKEN") < page.index("<code>OKEX")
    page = html(ada.get(f"{GROUPS}{group.pk}/remove/"))
    assert "Remove the group Desk B?" in page
    assert "Its exchanges stay: KRAKEN, OKEX." in page
    assert ExchangeGroup.objects.count() == 1
    before = current()
    assert ada.post(f"{GROUPS}{group.pk}/remove/").status_code == 302
    assert current() > before
    assert not ExchangeGroup.objects.exists()
    assert Exchange.objects.filter(enabled=True).count() == 3
    added, changed, removed = events(*KINDS)
    for event in (added, changed, removed):
        assert (event.actor, data(event)["address"]) == ("Ada Stone (ada)", "127.0.0.1")
    assert data(added)["changes"] == {
        "name": [None, "Desk A"],
        "position": [None, 0],
        "exchanges": [None, ["BITMEX", "KRAKEN"]],
    }
    assert data(changed)["changes"] == {
        "name": ["Desk A", "Desk B"],
        "position": [0, 2],
        "exchanges": [["BITMEX", "KRAKEN"], ["KRAKEN", "OKEX"]],
    }
    assert data(removed)["changes"]["exchanges"] == [["KRAKEN", "OKEX"], None]
    assert [describe(event) for event in (added, changed, removed)] == [
        "Desk A: with BITMEX, KRAKEN.",
        "Desk B: renamed from Desk A; with OKEX; without BITMEX; position 0 → 2.",
        "Desk B, which had KRAKEN, OKEX.",
    ]
    assert all(needs_review(event) for event in (added, changed, removed))
    assert list(REPLAYED_GROUPS.discrepancies(None, no_progress)) == []


def test_saving_without_a_change_leaves_no_event(ada: Client, exchanges: list[Exchange]) -> None:
    _save(ada, "add/", "Desk A", *exchanges)
    Exchange.objects.filter(exchange_id="BITMEX").update(position=9)
    group, before = ExchangeGroup.objects.get(), current()
    assert _save(ada, f"{group.pk}/", "Desk A", *exchanges).status_code == 302
    assert current() == before
    assert [event.kind for event in events(*KINDS)] == ["GROUP_ADDED"]


@pytest.mark.parametrize("name", ["", "desk a", "DESK  A", "Desk\x07", "Desk\u202e", "x" * 101])
def test_an_invalid_name_is_refused_next_to_its_field(ada: Client, name: str) -> None:
    _save(ada, "add/", "Desk A")
    page = _save(ada, "add/", name)
    assert page.status_code == 200
    assert 'id="id_name_error"' in html(page)
    assert ExchangeGroup.objects.count() == 1


def test_letters_beyond_ascii_differ_by_more_than_case_as_well(ada: Client) -> None:
    _save(ada, "add/", "STRASSE É")
    assert _save(ada, "add/", "straße é").status_code == 200
    assert ExchangeGroup.objects.count() == 1


def test_a_group_keeps_its_own_name(ada: Client) -> None:
    _save(ada, "add/", "Desk A")
    group = ExchangeGroup.objects.get()
    assert _save(ada, f"{group.pk}/", "DESK A").status_code == 302
    assert ExchangeGroup.objects.get().name == "DESK A"
    assert "Its exchanges stay: none." in html(ada.get(f"{GROUPS}{group.pk}/remove/"))


def test_an_exchange_that_does_not_exist_is_refused(ada: Client) -> None:
    page = ada.post(f"{GROUPS}add/", {"name": "Desk A", "position": 0, "exchanges": ["999"]})
    assert 'id="id_exchanges_error"' in html(page)
    assert not ExchangeGroup.objects.exists()


@pytest.mark.parametrize("path", ["999/", "999/remove/"])
def test_a_group_that_does_not_exist_is_not_found(ada: Client, path: str) -> None:
    form = {"name": "Desk A", "position": 0}
    for page in (ada.get(GROUPS + path), ada.post(GROUPS + path, form)):
        assert page.status_code == 404
    assert not ExchangeGroup.objects.exists()


def test_nothing_changes_when_the_log_takes_no_event(
    ada: Client, exchanges: list[Exchange]
) -> None:
    _save(ada, "add/", "Desk A", *exchanges)
    group = ExchangeGroup.objects.get()
    ada.raise_request_exception = False
    with full_log():
        assert _save(ada, "add/", "Desk B").status_code == 503
        assert _save(ada, f"{group.pk}/", "Desk C").status_code == 503
        assert ada.post(f"{GROUPS}{group.pk}/remove/").status_code == 503
    assert ExchangeGroup.objects.get().name == "Desk A"
    assert group.exchanges.count() == 3


def test_what_was_changed_past_the_product_is_detected(exchanges: list[Exchange]) -> None:
    group = ExchangeGroup(name="Desk A")
    save_group(group, exchanges=exchanges[:2], by=SYSTEM, origin={})
    assert_good(verify())
    group.exchanges.add(exchanges[2])
    assert_found(verify(), Proof.TABLES, "group Desk A", "exchanges")
    group.exchanges.remove(exchanges[2])
    assert_good(verify())
    ExchangeGroup.objects.update(name="Desk B")
    assert_found(verify(), Proof.TABLES, "group Desk B", "no event says that it was added")
    ExchangeGroup.objects.update(name="Desk A")
    ExchangeGroup.objects.all().delete()
    assert_found(verify(), Proof.TABLES, "group Desk A was deleted")


def test_a_name_is_used_again_after_its_group_was_removed(exchanges: list[Exchange]) -> None:
    for members in (exchanges[:1], exchanges[1:]):
        group = ExchangeGroup(name="Desk A")
        save_group(group, exchanges=members, by=SYSTEM, origin={})
        assert_good(verify())
        pk = group.pk
        remove_group(pk, by=SYSTEM, origin={})
        remove_group(pk, by=SYSTEM, origin={})
        assert_good(verify())
    assert [event.kind for event in events(*KINDS)] == ["GROUP_ADDED", "GROUP_REMOVED"] * 2


def test_a_page_that_is_out_of_date_does_not_put_an_exchange_back(
    ada: Client, exchanges: list[Exchange]
) -> None:
    bitmex, kraken, okex = exchanges
    _save(ada, "add/", "Desk A", bitmex, kraken)
    path = f"{GROUPS}{ExchangeGroup.objects.get().pk}/"
    seen = read_form(ada.get(path))
    _save(ada, path.removeprefix(GROUPS), "Desk A", kraken)
    page = ada.post(path, seen | {"exchanges": [str(each.pk) for each in exchanges]})
    assert "It is now “KRAKEN”. Save again to replace that with yours." in html(page)
    assert [data(event)["changes"]["exchanges"][1] for event in events(*KINDS)] == [
        ["BITMEX", "KRAKEN"],
        ["KRAKEN"],
    ]
    assert ada.post(path, read_form(page)).status_code == 302
    assert set(ExchangeGroup.objects.get().exchanges.all()) == {bitmex, kraken, okex}


def test_members_that_nobody_changed_are_not_reported_after_another_error(
    ada: Client, exchanges: list[Exchange]
) -> None:
    _save(ada, "add/", "Empty")
    path = f"{GROUPS}{ExchangeGroup.objects.get().pk}/"
    page = submit(ada, path, name="", exchanges=[str(exchanges[0].pk)])
    assert "This field is required." in html(page)
    assert ada.post(path, read_form(page) | {"name": ["Filled"]}).status_code == 302
    assert ExchangeGroup.objects.get().exchanges.get() == exchanges[0]


def test_two_clicks_on_add_add_one_group_and_fail_in_words(ada: Client) -> None:
    answers = run_at_once(*[lambda: _save(ada, "add/", "Desk A")] * 2)
    assert sorted(answer.status_code for answer in answers) == [200, 302]
    refused = next(answer for answer in answers if answer.status_code == 200)
    assert "If you have just added it, it was saved." in html(refused)


def test_a_name_that_is_taken_after_it_was_checked_is_refused_in_the_same_words(
    ada: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another administrator may add it at any moment of this request."""
    clean = GroupForm.clean_name

    def clean_then_take(form: GroupForm) -> str:
        name = clean(form)
        ExchangeGroup.objects.create(name=name)
        return name

    monkeypatch.setattr(GroupForm, "clean_name", clean_then_take)
    answer = _save(ada, "add/", "Desk A")
    assert answer.status_code == 200
    assert NAME_TAKEN in html(answer)
