"""A Hold or an episode that was changed, added or removed by hand is found."""

import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection

from killswitch.accounts.models import User
from killswitch.audit.actors import Actor
from killswitch.audit.chain import Head, NewEvent
from killswitch.audit.models import AuditEvent, EventKind
from killswitch.audit.verification.findings import Proof, VerificationResult, no_progress
from killswitch.audit.verification.verify import verify, verify_newest
from killswitch.cancels.models import Batch, CancelRequest
from killswitch.cancels.states import Status
from killswitch.exchanges.models import Exchange
from killswitch.holds import reconciliation, services
from killswitch.holds.models import Episode, Hold
from tests import factories
from tests.audit.assertions import assert_found, assert_good
from tests.audit.forging import constraints_off, uniqueness_off
from tests.audit.log import record
from tests.holds import hold_factories
from tests.holds.hold_factories import shell

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db]

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
Holds = dict[str, Hold]


@pytest.fixture(autouse=True)
def holds(settings: Any, tmp_path: Any, unpublished: None) -> Holds:
    """Return a Hold in each state, after every transition that there is."""
    settings.KILLSWITCH_HOME = tmp_path
    holds = hold_factories.every_state()
    assert_good(verify())
    assert_good(verify_newest(Head()))
    return holds


def all_verdicts() -> list[VerificationResult]:
    return [verify(), verify_newest(Head())]


def by_hand(row: Hold | Episode, **columns: Any) -> None:
    """Change a row behind the product's back, past its constraints."""
    with connection.cursor() as cursor:
        cursor.execute("DROP INDEX IF EXISTS an_exchange_has_one_active_hold")
    with constraints_off(row._meta.db_table):
        assert type(row)._base_manager.filter(pk=row.pk).update(**columns) == 1


HOLD_COLUMNS = {
    "uuid": uuid.UUID(int=7),
    "exchange_id": "KRAKEN/JOHN",
    "state": "RELEASED",
    "batch": None,
    "origin": "COMMAND_LINE",
    "started_at": LONG_AGO,
    "started_by": "Another",
    "started_role": "COMPLIANCE",
    "reason": "another",
    "release_requested_at": LONG_AGO,
    "release_requested_by": "Ben Ray (ben)",
    "release_requested_user": 1,
    "release_requested_role": "COMPLIANCE",
    "release_reason": "another",
    "released_at": LONG_AGO,
    "released_by": "Olga Ray (olga)",
    "released_role": "COMPLIANCE",
    "blind_since": LONG_AGO,
    "episode_count": 77,
    "orders_seen": 77,
    "orders_cancelled": 77,
}
# What every list changes has no event.
UNRECORDED = {
    *("id", "revision", "last_read_at", "read_error", "last_order_at", "orders_since"),
    "paused_until",
    "configured_exchange",
}


def test_every_column_is_either_compared_or_changes_with_the_lists() -> None:
    columns = {field.name for field in Hold._meta.concrete_fields}
    assert columns == {*HOLD_COLUMNS, *UNRECORDED}


@pytest.mark.parametrize("column", HOLD_COLUMNS)
def test_a_column_of_a_hold_changed_by_hand_is_found(holds: Holds, column: str) -> None:
    """In each state of a Hold, also where the right value is empty."""
    others = {"state": "ACTIVE", "batch": holds["active"].batch, "origin": "BROWSER"}
    for hold in holds.values():
        right, wrong = getattr(hold, column), HOLD_COLUMNS[column]
        if column == "release_requested_user":
            wrong = User.objects.get(username="ben")
        by_hand(hold, **{column: others[column] if wrong == right else wrong})
        for verdict in all_verdicts():
            assert_found(verdict, Proof.TABLES, "Hold ")
        by_hand(hold, **{column: right})
    assert_good(verify())


def test_a_hold_that_was_moved_to_another_exchange_is_found(holds: Holds) -> None:
    other = Exchange.objects.create(exchange_id="OTHER")
    by_hand(holds["active"], configured_exchange=other)
    # The exchange itself has no event either.
    assert_found(verify(), Proof.TABLES, "OTHER")
    reasons = [finding.reason for finding in reconciliation._compare_holds()]
    assert any("is listed under exchange 'OTHER'" in reason for reason in reasons)


def test_two_active_holds_of_one_exchange_are_found(holds: Holds) -> None:
    with uniqueness_off("holds_hold"):
        with connection.cursor() as cursor:
            cursor.execute("DROP INDEX IF EXISTS an_exchange_has_one_active_hold")
        twin = Hold.objects.get(pk=holds["active"].pk)
        twin_of = str(twin.uuid)
        twin.pk, twin.uuid = None, uuid.uuid4()
        twin.save(force_insert=True)
        reasons = [finding.reason for finding in reconciliation._compare_holds()]
        assert any("no event says that it was started" in reason for reason in reasons)
        started = AuditEvent.objects.get(kind=EventKind.HOLD_STARTED, data__contains=twin_of)
        data = started.data.replace(twin_of, str(twin.uuid))
        _log_again(started, data)
        reasons = [finding.reason for finding in reconciliation._compare_holds()]
        assert any("its exchange has another active Hold" in reason for reason in reasons)


def _log_again(event: AuditEvent, data: str) -> None:
    new = NewEvent(
        kind=EventKind(event.kind),
        actor=Actor(name=event.actor, role=event.role),
        exchange_id=event.exchange_id,
        request_id=event.request_id,
        data=json.loads(data),
    )
    record(new)


def test_a_hold_without_event_and_an_event_without_hold_are_found(holds: Holds) -> None:
    hold = holds["blind"]
    hold.delete()
    for verdict in all_verdicts():
        assert_found(verdict, Proof.TABLES, f"Hold {hold.uuid} was deleted")
    hold.uuid = uuid.uuid4()
    hold.save(force_insert=True)
    for verdict in all_verdicts():
        assert_found(verdict, Proof.TABLES, "no event says that it was started")


@pytest.mark.parametrize("kind", reconciliation.STATE_KINDS)
def test_an_event_that_fits_to_no_hold_is_found(holds: Holds, kind: EventKind) -> None:
    known = str(holds["active"].uuid)
    hold = known if kind == EventKind.HOLD_STARTED else str(uuid.uuid4())
    record(NewEvent(kind=kind, exchange_id="KRAKEN", data={"hold": hold}))
    for verdict in all_verdicts():
        assert_found(verdict, Proof.TABLES, f"Hold {hold} has the event {kind}")
        assert verdict.first_bad_seq == AuditEvent.objects.latest("seq").seq


EPISODE_COLUMNS = {
    "number": 9,
    "began_blind": True,
    "orders_seen": 4,
    "orders_carried": 1,
    "orders_cancelled": 77,
    "symbols": ["XRP-USD"],
    "longest_life_ms": 1,
    "first_order_at": LONG_AGO,
    "last_order_at": None,
}


def test_every_column_of_an_episode_is_either_compared_or_only_for_the_enforcement() -> None:
    columns = {field.name for field in Episode._meta.concrete_fields}
    assert columns == {*EPISODE_COLUMNS, "id", "hold", "request", "oldest_open_at"}


@pytest.mark.parametrize("column", EPISODE_COLUMNS)
def test_a_column_of_an_episode_changed_by_hand_is_found(holds: Holds, column: str) -> None:
    """Also where the sums of the Hold are changed with it."""
    hold, value = holds["active"], EPISODE_COLUMNS[column]
    row = hold.episodes.get(number=1)
    assert getattr(row, column) != value
    by_hand(row, **{column: value})
    if column in {"orders_seen", "orders_carried", "orders_cancelled"}:
        rows = hold.episodes.all()
        by_hand(
            hold,
            orders_seen=sum(row.orders_seen - row.orders_carried for row in rows),
            orders_cancelled=sum(row.orders_cancelled for row in rows),
        )
    for verdict in all_verdicts():
        assert_found(verdict, Proof.TABLES, str(hold.uuid))


def test_an_episode_is_bound_to_its_hold_and_its_request(holds: Holds) -> None:
    first, second, _ = holds["active"].episodes.order_by("number")
    request = first.request
    with uniqueness_off("holds_episode"):
        by_hand(first, request=CancelRequest.objects.filter(episode=None).earliest("id"))
        assert_found(verify(), Proof.TABLES, "was not made by this episode")
        by_hand(first, request=request)
        by_hand(second, hold=holds["blind"], number=1)
        assert_found(verify(), Proof.TABLES, "not numbered from 1 without gaps")
        by_hand(holds["active"], episode_count=2)
        assert_found(verify(), Proof.TABLES)
        by_hand(second, hold=holds["active"], number=2)
        by_hand(holds["active"], episode_count=3)
    assert_good(verify())


@pytest.mark.parametrize("number", [1, 3])
def test_a_deleted_episode_is_found(holds: Holds, number: int) -> None:
    """Also a running one, and where the Hold's sums are changed with it."""
    hold = holds["active"]
    row = hold.episodes.get(number=number)
    row.delete()
    assert_found(verify(), Proof.TABLES, f"Hold {hold.uuid}")
    by_hand(
        hold,
        episode_count=hold.episode_count - 1,
        orders_seen=hold.orders_seen - row.orders_seen,
        orders_cancelled=hold.orders_cancelled - row.orders_cancelled,
    )
    if number == 1:
        hold.episodes.filter(number=2).update(number=1)
        hold.episodes.filter(number=3).update(number=2)
    for verdict in all_verdicts():
        assert_found(verdict, Proof.TABLES)


def test_an_episode_of_the_log_without_a_row_is_found() -> None:
    request = CancelRequest.objects.filter(episode=None)[0]
    data = {"hold": str(uuid.uuid4()), "number": 1}
    record(NewEvent(kind=EventKind.HOLD_EPISODE, request_id=str(request.uuid), data=data))
    assert_found(verify(), Proof.TABLES, "exists only in the log")


def test_an_episode_that_ended_without_an_event_or_twice_is_found(holds: Holds) -> None:
    running = holds["active"].episodes.get(number=3)
    factories.bring(running.request, Status.RESIDUAL)
    for verdict in all_verdicts():
        assert_found(verdict, Proof.TABLES, "has ended, and no event records it")
    event = AuditEvent.objects.filter(kind=EventKind.HOLD_EPISODE)[0]
    _log_again(event, event.data)
    assert_found(verify(), Proof.TABLES, "ended more than once")


def test_what_the_press_says_about_the_hold_is_compared(holds: Holds) -> None:
    Batch.objects.filter(holds=holds["active"]).update(hold=False)
    for verdict in all_verdicts():
        assert_found(verdict, Proof.TABLES, "hold is False, but event")


def test_the_origin_of_an_outcome_is_compared(holds: Holds) -> None:
    row = holds["active"].episodes.get(number=1)
    Batch.objects.filter(requests=row.request).update(origin="BROWSER")
    for verdict in all_verdicts():
        assert_found(verdict, Proof.TABLES, "origin is 'BROWSER'")


def test_what_the_lists_change_is_not_compared(holds: Holds) -> None:
    now = datetime.now(UTC)
    Hold.objects.update(last_read_at=now, read_error="x", last_order_at=now, orders_since=now)
    Episode.objects.update(oldest_open_at=now)
    assert_good(verify())


@pytest.mark.usefixtures("small_batches")
def test_batches_of_any_size_give_the_same_result(holds: Holds) -> None:
    assert_good(verify())
    holds["active"].episodes.filter(number=1).update(longest_life_ms=1)
    assert_found(verify(), Proof.TABLES, "episode 1 of Hold", "longest_life_ms")


def test_a_change_between_two_reads_is_not_reported(
    holds: Holds, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = reconciliation._rows
    changes: list[Callable[[], object]] = [
        lambda: services.request_release(holds["blind"], act=shell("risk"), reason="x")
    ]

    def read_late() -> Any:
        if changes:
            changes.pop()()  # after the events were read, before the rows are
        return rows()

    monkeypatch.setattr(reconciliation, "_rows", read_late)
    assert list(reconciliation.discrepancies(None, no_progress)) == []
    assert not changes
