"""A press is recorded whole or not at all, and the same key is the same press."""

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import OperationalError, connection, connections

from killswitch.accounts import services as account_services
from killswitch.accounts.models import Role, User
from killswitch.audit.chain import Actor, append
from killswitch.audit.models import AuditEvent
from killswitch.cancels import press_keys, publishing, services
from killswitch.cancels.models import Batch, CancelRequest
from killswitch.cancels.services import CancelResult, PressContext
from killswitch.exchanges.models import Exchange
from killswitch.exchanges.services import save_exchange
from killswitch.runtime.revisions import next_revision

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def officer() -> User:
    return User.objects.create_user(username="olga", password="x", role=Role.RISK_OFFICER)


@pytest.fixture
def kraken() -> Exchange:
    return Exchange.objects.create(exchange_id="KRAKEN", open_orders=4)


@pytest.fixture(autouse=True)
def published(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """What was handed to the publishing thread; the queue itself is tested with real processes."""
    handed: list[list[int]] = []

    def publish(ids: list[int]) -> None:
        assert not connection.in_atomic_block, "published before it was committed"
        handed.append(ids)

    monkeypatch.setattr(publishing, "publish", publish)
    return handed


def press(
    officer: User,
    *exchanges: Exchange,
    key: str | None = None,
    reason: str = "",
    everywhere: bool = False,
) -> CancelResult:
    target = press_keys.target_of(exchanges, everywhere=everywhere)
    return services.request_cancel(
        exchanges=exchanges,
        everywhere=everywhere,
        key=key or press_keys.make(user_id=officer.pk, target=target),
        press=PressContext(user=officer, reason=reason),
    )


def test_a_press_is_a_batch_a_request_each_and_an_event_each(
    officer: User, kraken: Exchange, published: list[list[int]]
) -> None:
    john = Exchange.objects.create(exchange_id="KRAKEN/JOHN")
    asked = press(officer, kraken, john, reason="runaway")
    requests = list(asked.batch.requests.order_by("exchange_id"))
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
    got: list[CancelResult] = []

    def once() -> None:
        barrier.wait()
        got.append(press(officer, kraken, key=key))
        connection.close()

    threads = [threading.Thread(target=once) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({asked.batch.pk for asked in got}) == 1
    assert [asked.repeated for asked in got].count(False) == 1
    assert CancelRequest.objects.count() == 1


def test_a_new_key_is_a_new_press_also_while_one_is_in_flight(
    officer: User, kraken: Exchange
) -> None:
    assert press(officer, kraken).batch != press(officer, kraken).batch


@pytest.mark.parametrize("forged", ["", "x", "a:b:c", "9" * 9000])
def test_a_key_that_we_did_not_make_is_forged(forged: str, officer: User, kraken: Exchange) -> None:
    with pytest.raises(press_keys.InvalidKey):
        press_keys.read(forged, user_id=officer.pk, target=str(kraken.pk))


def test_a_key_of_another_person_or_target_is_foreign(officer: User, kraken: Exchange) -> None:
    key = press_keys.make(user_id=officer.pk, target=str(kraken.pk))
    with pytest.raises(press_keys.KeyForAnotherTarget):
        press_keys.read(key, user_id=officer.pk + 1, target=str(kraken.pk))
    with pytest.raises(press_keys.KeyForAnotherTarget):
        press_keys.read(key, user_id=officer.pk, target=press_keys.EVERYWHERE)
    assert not Batch.objects.exists()


def test_a_disabled_exchange_is_not_cancelled_on(officer: User, kraken: Exchange) -> None:
    Exchange.objects.update(enabled=False)
    with pytest.raises(services.NothingToCancel):
        press(officer, kraken)
    assert not Batch.objects.exists()


@pytest.mark.parametrize(
    ("given", "kept", "altered"),
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
def test_a_bad_reason_is_cut_cleaned_and_marked_and_never_refuses(
    given: str, kept: str, altered: bool, officer: User, kraken: Exchange
) -> None:
    batch = press(officer, kraken, reason=given).batch
    batch.refresh_from_db()
    assert (batch.reason, batch.reason_altered) == (kept, altered)


def test_the_reason_is_completed_once_by_who_pressed(officer: User, kraken: Exchange) -> None:
    batch = press(officer, kraken, reason="first").batch
    other = User.objects.create_user(username="ben", password="x", role=Role.RISK_OFFICER)
    with pytest.raises(services.NotTheRequester):
        services.complete_reason(batch=batch, user=other, reason="mine now")
    with pytest.raises(services.EmptyReason):
        services.complete_reason(batch=batch, user=officer, reason="\x01 \x02")
    done = services.complete_reason(batch=batch, user=officer, reason="the algo went wild")
    assert (done.reason, done.completed_reason) == ("first", "the algo went wild")
    with pytest.raises(services.AlreadyCompleted):
        services.complete_reason(batch=batch, user=officer, reason="again")
    event = AuditEvent.objects.get(kind="REASON_COMPLETED")
    assert json.loads(event.data)["original"] == "first"


def test_nothing_is_half_recorded_when_the_event_cannot_be_written(
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


def test_a_commit_whose_answer_is_lost_is_found_again(
    officer: User, kraken: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = type(connections["default"]).commit

    def commit_and_lose_the_answer(self: Any) -> None:
        commit(self)
        raise OperationalError("the server closed the connection")

    monkeypatch.setattr(type(connections["default"]), "commit", commit_and_lose_the_answer)
    asked = press(officer, kraken)
    assert asked.repeated
    assert CancelRequest.objects.get().batch == asked.batch


def test_a_database_that_goes_away_at_the_commit_leaves_it_unknown(
    officer: User, kraken: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(self: Any) -> None:
        connection.execute_wrappers.append(refuse)
        raise OperationalError("the server closed the connection")

    def refuse(*_: Any) -> None:
        raise OperationalError("gone")

    monkeypatch.setattr(type(connections["default"]), "commit", die)
    try:
        with pytest.raises(services.CommitOutcomeUnknown):
            press(officer, kraken)
    finally:
        connection.execute_wrappers.remove(refuse)


class Pause:
    """Stops a change when it holds its row, for as long as a press needs to lock the log."""

    def __init__(self, goes_on: Callable[..., Any]) -> None:
        self.reached = threading.Event()
        self._goes_on = goes_on

    def __call__(self, *arguments: Any) -> Any:
        self.reached.set()
        time.sleep(0.5)
        return self._goes_on(*arguments)


def press_during(
    change: Callable[[], None], pause: Pause, press: Callable[[], CancelResult]
) -> tuple[CancelResult, list[OperationalError]]:
    """What the press gave, and why the change failed, if it did."""
    failures: list[OperationalError] = []

    def edit() -> None:
        try:
            change()
        except OperationalError as error:
            failures.append(error)
        finally:
            connection.close()

    thread = threading.Thread(target=edit)
    thread.start()
    assert pause.reached.wait(5)
    asked = press()
    thread.join()
    return asked, failures


def test_an_exchange_that_is_being_edited_refuses_no_press(
    officer: User, kraken: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    pause = Pause(next_revision)
    monkeypatch.setattr("killswitch.audit.recorder.next_revision", pause)
    ada = Actor(name="Ada (ada)", role="Administrator")

    def edit() -> None:
        edited = Exchange.objects.get(pk=kraken.pk)
        edited.name = "Kraken"
        save_exchange(edited, by=ada, origin={})

    asked, failures = press_during(edit, pause, lambda: press(officer, kraken))
    assert not asked.repeated
    assert not failures
    assert Exchange.objects.get().name == "Kraken"


def test_a_person_who_is_being_changed_is_refused_no_press(
    officer: User, kraken: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    pause = Pause(append)
    monkeypatch.setattr("killswitch.audit.chain.append", pause)

    def change() -> None:
        account_services.change_own_password(user=officer, password="another one", origin={})

    asked, failures = press_during(change, pause, lambda: press(officer, kraken))
    assert not asked.repeated
    assert not failures


def test_a_commit_that_was_cut_off_and_is_not_to_be_seen_yet_may_still_come(
    officer: User, kraken: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database is there again at once; only a file of our own tells for certain then."""

    def cut_off(self: Any) -> None:
        raise OperationalError("the server closed the connection")

    monkeypatch.setattr(type(connections["default"]), "commit", cut_off)
    certain = connection.vendor == "sqlite"
    with pytest.raises(services.NotRecorded if certain else services.CommitOutcomeUnknown):
        press(officer, kraken)
