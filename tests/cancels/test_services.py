"""A press is recorded whole or not at all, and the same key is the same press."""

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.db.models import Model
from django.db.models.signals import post_save

from killswitch.accounts import services as account_services
from killswitch.accounts.models import Role, User
from killswitch.audit.actors import Actor
from killswitch.audit.models import AuditEvent
from killswitch.cancels import press_keys, publishing, services
from killswitch.cancels.confirmation import Target
from killswitch.cancels.models import Batch, CancelRequest
from killswitch.cancels.services import CancelResult, PressContext
from killswitch.exchanges.models import Exchange
from killswitch.exchanges.services import save_exchange
from tests import factories, failures

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def officer() -> User:
    return factories.person(Role.RISK_OFFICER)


@pytest.fixture
def kraken() -> Exchange:
    return Exchange.objects.create(exchange_id="KRAKEN", open_orders=4)


@pytest.fixture(autouse=True)
def published(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Collect the ids that are batches to the publishing thread, which tests/faults covers."""
    batches: list[list[int]] = []

    def publish(ids: list[int]) -> None:
        assert not connection.in_atomic_block, "published before the commit"
        batches.append(ids)

    monkeypatch.setattr(publishing, "publish", publish)
    return batches


def press(
    officer: User,
    *exchanges: Exchange,
    key: str | None = None,
    reason: str = "",
) -> CancelResult:
    target = Target(exchanges=exchanges)
    return services.request_cancel(
        target=target,
        key=key or target.key(user_id=officer.pk),
        press=PressContext(user=officer, reason=reason),
    )


def test_a_press_is_a_batch_with_a_request_and_an_event_for_each_exchange(
    officer: User, kraken: Exchange, published: list[list[int]]
) -> None:
    john = Exchange.objects.create(exchange_id="KRAKEN/JOHN")
    result = press(officer, kraken, john, reason="runaway")
    requests = list(result.batch.requests.order_by("exchange_id"))
    assert [(r.exchange_id, r.status, r.open_before) for r in requests] == [
        ("KRAKEN", "REQUESTED", 4),
        ("KRAKEN/JOHN", "REQUESTED", None),
    ]
    assert sorted(published[0]) == sorted(r.pk for r in requests)
    assert len(published) == 1
    events = AuditEvent.objects.filter(kind="REQUESTED")
    assert {e.request_id for e in events} == {str(r.uuid) for r in requests}
    assert {json.loads(e.data)["reason"] for e in events} == {"runaway"}


def test_the_same_key_is_the_same_press(officer: User, kraken: Exchange) -> None:
    key = press_keys.make(user_id=officer.pk, target=str(kraken.pk))
    first = press(officer, kraken, key=key)
    second = press(officer, kraken, key=key)
    assert (first.repeated, second.repeated) == (False, True)
    assert first.batch == second.batch
    assert CancelRequest.objects.count() == AuditEvent.objects.count() == 1


def test_twenty_presses_with_one_key_at_once_are_one(officer: User, kraken: Exchange) -> None:
    key = press_keys.make(user_id=officer.pk, target=str(kraken.pk))
    barrier = threading.Barrier(20)
    results: list[CancelResult] = []

    def once() -> None:
        barrier.wait()
        results.append(press(officer, kraken, key=key))
        connection.close()

    threads = [threading.Thread(target=once) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({result.batch.pk for result in results}) == 1
    assert [result.repeated for result in results].count(False) == 1
    assert CancelRequest.objects.count() == 1


def test_a_new_key_is_a_new_press_even_while_another_is_in_flight(
    officer: User, kraken: Exchange
) -> None:
    assert press(officer, kraken).batch != press(officer, kraken).batch


@pytest.mark.parametrize("forged", ["", "x", "a:b:c", "9" * 9000])
def test_a_key_that_was_not_made_here_is_invalid(
    forged: str, officer: User, kraken: Exchange
) -> None:
    with pytest.raises(press_keys.InvalidKey):
        press_keys.read(forged, user_id=officer.pk, target=str(kraken.pk))


def test_a_key_is_valid_only_for_its_person_and_target(officer: User, kraken: Exchange) -> None:
    key = press_keys.make(user_id=officer.pk, target=str(kraken.pk))
    with pytest.raises(press_keys.KeyForAnotherTarget):
        press_keys.read(key, user_id=officer.pk + 1, target=str(kraken.pk))
    with pytest.raises(press_keys.KeyForAnotherTarget):
        press_keys.read(key, user_id=officer.pk, target="everywhere")
    assert not Batch.objects.exists()


def test_a_disabled_exchange_is_not_cancelled(officer: User, kraken: Exchange) -> None:
    Exchange.objects.update(enabled=False)
    with pytest.raises(services.NothingToCancel):
        press(officer, kraken)
    assert not Batch.objects.exists()


@pytest.mark.parametrize(
    ("text", "stored", "altered"),
    [
        ("limit breach", "limit breach", False),
        ("  spaces  ", "spaces", False),
        ("x" * 600, "x" * 500, True),
        ("nul\x00 and \x1b[31m red", "nul and [31m red", True),
        ("two\nlines", "two lines", True),
        ("half \ud800 pair", "half  pair", True),
        ("<script>alert(1)</script>", "<script>alert(1)</script>", False),
        ("理由 😀", "理由 😀", False),
    ],
)
def test_a_bad_reason_is_cleaned_and_marked_and_never_refused(
    text: str, stored: str, altered: bool, officer: User, kraken: Exchange
) -> None:
    batch = press(officer, kraken, reason=text).batch
    batch.refresh_from_db()
    assert (batch.reason, batch.reason_altered) == (stored, altered)


def test_the_reason_is_completed_once_by_the_person_who_pressed(
    officer: User, kraken: Exchange
) -> None:
    batch = press(officer, kraken, reason="first").batch
    other = factories.person(Role.RISK_OFFICER, username="ben")
    with pytest.raises(services.NotTheRequester):
        services.complete_reason(batch=batch, user=other, reason="mine now")
    with pytest.raises(services.EmptyReason):
        services.complete_reason(batch=batch, user=officer, reason="\x01 \x02")
    batch = services.complete_reason(batch=batch, user=officer, reason="the algo went wild")
    assert (batch.reason, batch.completed_reason) == ("first", "the algo went wild")
    with pytest.raises(services.AlreadyCompleted):
        services.complete_reason(batch=batch, user=officer, reason="again")
    event = AuditEvent.objects.get(kind="REASON_COMPLETED")
    assert json.loads(event.data)["original"] == "first"


def test_a_press_is_not_half_recorded_when_its_event_cannot_be_written(
    officer: User, kraken: Exchange, published: list[list[int]]
) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE audit_auditevent RENAME TO hidden")
    try:
        with pytest.raises(services.NotRecorded):
            press(officer, kraken)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE hidden RENAME TO audit_auditevent")
    assert not Batch.objects.exists()
    assert published == []


def test_a_commit_whose_answer_is_lost_is_found_again(officer: User, kraken: Exchange) -> None:
    with failures.commits(failures.commit_without_answer):
        result = press(officer, kraken)
    assert result.repeated
    assert CancelRequest.objects.get().batch == result.batch


def test_a_database_that_goes_away_at_the_commit_leaves_it_unknown(
    officer: User, kraken: Exchange
) -> None:
    def die(_commit: Any) -> None:
        connection.execute_wrappers.append(refuse)
        failures.lose_connection()

    def refuse(*_: Any) -> None:
        raise OperationalError("gone")

    try:
        with failures.commits(die), pytest.raises(services.CommitOutcomeUnknown):
            press(officer, kraken)
    finally:
        connection.execute_wrappers.remove(refuse)


def press_during(
    change: Callable[[], None], row: type[Model], press: Callable[[], CancelResult]
) -> CancelResult:
    """Press while a change holds its row, for as long as the press needs to lock the log."""
    is_locked = threading.Event()
    failures: list[OperationalError] = []

    def wait_for_the_press(**_: Any) -> None:
        is_locked.set()
        time.sleep(0.5)

    def run_change() -> None:
        try:
            change()
        except OperationalError as error:
            failures.append(error)
        finally:
            connection.close()

    post_save.connect(wait_for_the_press, sender=row)
    try:
        thread = threading.Thread(target=run_change)
        thread.start()
        assert is_locked.wait(5)
        result = press()
        thread.join()
    finally:
        post_save.disconnect(wait_for_the_press, sender=row)
    assert not failures
    return result


def test_a_press_succeeds_while_its_exchange_is_being_edited(
    officer: User, kraken: Exchange
) -> None:
    def edit() -> None:
        exchange = Exchange.objects.get(pk=kraken.pk)
        exchange.name = "Kraken"
        administrator = Actor(name="Ada (ada)", role="Administrator")
        save_exchange(exchange, by=administrator, origin={})

    assert not press_during(edit, Exchange, lambda: press(officer, kraken)).repeated
    assert Exchange.objects.get().name == "Kraken"


def test_a_press_succeeds_while_its_person_is_being_changed(
    officer: User, kraken: Exchange
) -> None:
    def change() -> None:
        account_services.change_own_password(user=officer, password="another one", origin={})

    assert not press_during(change, User, lambda: press(officer, kraken)).repeated


def test_a_commit_that_was_cut_off_and_cannot_be_seen_may_still_succeed(
    officer: User, kraken: Exchange
) -> None:
    """The database is back at once, and only SQLite knows for certain then."""
    is_certain = connection.vendor == "sqlite"
    error = services.NotRecorded if is_certain else services.CommitOutcomeUnknown
    with failures.commits(failures.lose_connection), pytest.raises(error):
        press(officer, kraken)


def test_a_press_whose_event_the_log_does_not_take_is_certainly_not_recorded(
    officer: User, kraken: Exchange
) -> None:
    with failures.full_log(), pytest.raises(services.NotRecorded):
        press(officer, kraken)
    assert not CancelRequest.objects.exists()
