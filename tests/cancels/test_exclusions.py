"""What a cancel does not include is recorded with it, and stays what it was then."""

import json
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from killswitch.accounts.models import User
from killswitch.audit.descriptions import describe
from killswitch.audit.models import AuditEvent, EventKind
from killswitch.audit.verification.findings import Finding, no_progress
from killswitch.cancels import event_data, reconciliation
from killswitch.cancels.models import Batch
from killswitch.exchanges.models import Exchange, ExchangeGroup, UncoveredExchange
from tests import factories
from tests.console.press_helpers import EVERYWHERE, path_of, press, question
from tests.markup import html

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]

OKEX = {"exchange_id": "OKEX", "open_orders": 12, "why": "not_enabled"}
OFF = {"exchange_id": "OFF", "open_orders": 5, "why": "disabled"}
IDLE = {"exchange_id": "IDLE", "open_orders": None, "why": "disabled"}


@pytest.fixture
def console() -> list[Exchange]:
    """Two exchanges that are enabled, two that are not, and one that is not configured."""
    exchanges = [factories.exchange(name, orders=3) for name in ("KRAKEN", "GEMINI")]
    exchanges += [factories.exchange(name, enabled=False) for name in ("OFF", "IDLE")]
    for name, orders in (("OKEX", 12), ("OFF", 5)):
        UncoveredExchange.objects.create(exchange_id=name, open_orders=orders)
    return exchanges


def findings() -> list[Finding]:
    return list(reconciliation.discrepancies(None, no_progress))


def press_events() -> list[dict[str, Any]]:
    events = AuditEvent.objects.filter(kind=EventKind.REQUESTED).order_by("seq")
    return [json.loads(event.data) for event in events]


def test_a_cancel_everywhere_records_and_shows_what_it_left_out(
    officer: Client, console: list[Exchange]
) -> None:
    asked = question(officer, EVERYWHERE)
    assert "Not included:</b> <code>OKEX</code> (12 open)." in asked
    assert "not cancelled:</b> <code>IDLE</code>, <code>OFF</code> (5 open)." in asked
    press(officer, EVERYWHERE)
    batch = Batch.objects.get()
    assert batch.not_included == [IDLE, OFF, OKEX]
    first, second = press_events()
    assert first["not_included"] == batch.not_included
    assert "not_included" not in second
    assert first["not_included_total"] == second["not_included_total"]
    assert second["not_included_total"] == {"exchanges": 3, "open_orders": 17}
    event = AuditEvent.objects.filter(kind=EventKind.REQUESTED).latest("seq")
    assert "Not included: 3 exchanges with 17 open orders." in describe(event)


def test_the_page_shows_what_was_left_out_then_and_not_now(
    officer: Client, console: list[Exchange]
) -> None:
    press(officer, EVERYWHERE)
    path = f"/batches/{Batch.objects.get().uuid}/"
    before = html(officer.get(path))
    assert "Not included then:</b> <code>OKEX</code> (12 open)." in before
    assert (
        "Disabled then, not cancelled:</b> <code>IDLE</code>, <code>OFF</code> (5 open)." in before
    )
    UncoveredExchange.objects.all().delete()
    UncoveredExchange.objects.create(exchange_id="NEW", open_orders=1)
    Exchange.objects.update(enabled=True)
    after = html(officer.get(path))
    assert "Not included then:</b> <code>OKEX</code> (12 open)." in after
    assert "NEW" not in after


def test_chosen_exchanges_leave_out_the_disabled_ones_among_them_only(
    officer: Client, console: list[Exchange]
) -> None:
    kraken, _, off, _ = console
    press(officer, f"{EVERYWHERE}?exchange={kraken.pk}&exchange={off.pk}")
    assert Batch.objects.get().not_included == [OFF]
    press(officer, path_of(kraken))
    assert Batch.objects.latest("id").not_included == []
    group = ExchangeGroup.objects.create(name="Desk A")
    group.exchanges.set([kraken, off])
    press(officer, f"{EVERYWHERE}?group={group.pk}")
    assert Batch.objects.latest("id").not_included == [OFF]


def test_an_exchange_that_has_just_been_enabled_is_not_said_to_be_left_out(
    officer: Client, console: list[Exchange]
) -> None:
    """The observer's table still has it until its next look."""
    factories.exchange("OKEX")
    assert "<b>Not included:" not in question(officer, EVERYWHERE)
    press(officer, EVERYWHERE)
    assert Batch.objects.get().not_included == [IDLE, OFF]


def test_many_are_folded_with_their_sum(officer: Client) -> None:
    factories.exchange("KRAKEN")
    for number in range(10):
        UncoveredExchange.objects.create(exchange_id=f"OKEX/{number}", open_orders=300 + number)
    folded = "</b> 10 exchanges, 3,045 open orders</summary>"
    assert f"<b>Not included:{folded}" in question(officer, EVERYWHERE)
    press(officer, EVERYWHERE)
    page = html(officer.get(f"/batches/{Batch.objects.get().uuid}/"))
    assert f"<b>Not included then:{folded}" in page
    assert "OKEX/9" in page


def test_a_press_of_the_version_before_claims_nothing_and_still_verifies(
    officer: Client, olga: User, console: list[Exchange]
) -> None:
    batch = factories.press(olga, *console[:2], everywhere=True)
    Batch.objects.update(not_included=None)
    page = html(officer.get(f"/batches/{batch.uuid}/"))
    assert "What this cancel did not include was not recorded." in page
    assert "OKEX" not in page


def test_a_press_on_many_exchanges_costs_one_query_more_at_most(olga: User) -> None:
    """Measured against a press on one chosen exchange, which leaves nothing out."""
    exchanges = factories.exchanges(60)
    for number in range(20):
        factories.exchange(f"OFF{number}", enabled=False)
        UncoveredExchange.objects.create(exchange_id=f"OKEX/{number}", open_orders=number + 1)
    counts = []
    for targets, everywhere in ((exchanges[:1], False), (exchanges, False), (exchanges, True)):
        with CaptureQueriesContext(
            connection,
        ) as queries:
            factories.press(olga, *targets, everywhere=everywhere)
        counts.append(len(queries))
    one, some, all_of_them = counts
    assert all_of_them - some <= 1
    assert Batch.objects.latest("id").not_included is not None
    assert one <= some


@pytest.mark.parametrize(
    "forged",
    [
        {"not_included": []},
        {"not_included": None},
        {"not_included": 1},
        {"not_included": ["x"]},
        {"not_included": [OKEX, OFF, {**IDLE, "open_orders": 1}]},
        {"group_name": "Desk B"},
    ],
    ids=str,
)
def test_a_changed_snapshot_is_found(
    olga: User, console: list[Exchange], forged: dict[str, Any]
) -> None:
    batch = factories.press(olga, *console[:2], everywhere=True, ago_s=0)
    assert findings() == []
    Batch.objects.filter(pk=batch.pk).update(**forged)
    assert findings()
    assert batch.requests.count() == 2


def test_what_an_older_event_does_not_record_cannot_be_added_to_its_row(
    olga: User, console: list[Exchange], monkeypatch: pytest.MonkeyPatch
) -> None:
    of_press = event_data.of_press
    later = {*event_data.PRESS_DEFAULTS, "not_included"}

    def older(*arguments: Any) -> dict[str, Any]:
        data = of_press(*arguments)
        return {name: value for name, value in data.items() if name not in later}

    with monkeypatch.context() as patch:
        patch.setattr(event_data, "of_press", older)
        batch = factories.press(olga, console[0], ago_s=0)
    Batch.objects.filter(pk=batch.pk).update(not_included=None)
    assert findings() == []
    other = factories.press(olga, console[0], ago_s=0)
    changes: list[dict[str, Any]] = [
        {"not_included": []},
        {"group_name": "x"},
        {"hold": True},
        {"retry_of": other},
    ]
    for forged in changes:
        Batch.objects.filter(pk=batch.pk).update(**forged)
        assert "which no event records" in findings()[0].reason
        Batch.objects.filter(pk=batch.pk).update(
            not_included=None, group_name="", hold=False, retry_of=None
        )
    assert findings() == []
