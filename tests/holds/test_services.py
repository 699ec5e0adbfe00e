"""Starting a Hold, and releasing it with another person."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from killswitch.accounts.models import Role, User
from killswitch.audit.actors import Actor
from killswitch.audit.models import AuditEvent
from killswitch.cancels.models import Origin
from killswitch.exchanges.models import Exchange
from killswitch.holds import services
from killswitch.holds.models import Hold, HoldState
from killswitch.holds.services import Act
from tests.holds.conftest import OLGA, PETER, HoldExchange

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True)]

LATE = timedelta(minutes=15, seconds=1)


@pytest.fixture
def requested(hold: HoldExchange) -> Hold:
    return services.request_release(hold(), act=OLGA, reason="the desk is flat")


def kinds() -> list[str]:
    return list(AuditEvent.objects.filter(kind__startswith="HOLD").values_list("kind", flat=True))


def as_user(name: str) -> Act:
    user = User.objects.create(username=name, role=Role.RISK_OFFICER)
    return Act.of_user(user, address="127.0.0.1")


def test_a_held_exchange_keeps_its_hold(hold: HoldExchange) -> None:
    first, second = hold(), hold(act=PETER)
    assert first == second
    assert second.started_by == "os:olga"
    assert kinds() == ["HOLD_STARTED"]


def test_the_database_refuses_a_second_active_hold(hold: HoldExchange) -> None:
    row = hold()
    row.pk = None
    row._state.adding = True
    row.uuid = "5b1d6cbd-6f04-4ba4-b9a9-b4a38bb1c2f0"
    with pytest.raises(IntegrityError), transaction.atomic():
        row.save()


def test_an_exchange_with_a_hold_cannot_be_deleted(hold: HoldExchange) -> None:
    hold()
    with pytest.raises(IntegrityError):
        Exchange.objects.all().delete()


def test_two_persons_release_a_hold(requested: Hold) -> None:
    assert requested.state == HoldState.RELEASE_REQUESTED
    row = services.confirm_release(
        requested, act=PETER, requested_at=Hold.objects.get().release_requested_at
    )
    row.refresh_from_db()
    assert (row.state, row.released_by) == (HoldState.RELEASED, "os:peter")
    assert kinds() == ["HOLD_STARTED", "HOLD_RELEASE_REQUESTED", "HOLD_RELEASED"]


def test_the_exchange_can_be_held_again_after_a_release(
    requested: Hold, hold: HoldExchange
) -> None:
    services.confirm_release(requested, act=PETER)
    assert hold() != requested


@pytest.mark.parametrize("same", ["os:olga", "os:OLGA", "olga"])
def test_the_same_person_cannot_confirm(requested: Hold, same: str) -> None:
    if same.startswith("os:"):
        act = Act(by=Actor(name=same), origin=Origin.COMMAND_LINE)
    else:
        act = as_user(same)
    with pytest.raises(services.SamePerson):
        services.confirm_release(requested, act=act)
    assert Hold.objects.get().state == HoldState.RELEASE_REQUESTED


def test_a_user_cannot_confirm_their_own_request_from_a_shell(hold: HoldExchange) -> None:
    row = services.request_release(hold(), act=as_user("olga"), reason="flat")
    with pytest.raises(services.SamePerson):
        services.confirm_release(row, act=OLGA)
    assert services.confirm_release(row, act=PETER).state == HoldState.RELEASED


def test_a_user_who_was_renamed_meanwhile_is_still_the_same(hold: HoldExchange) -> None:
    act = as_user("olga")
    row = services.request_release(hold(), act=act, reason="flat")
    User.objects.update(username="olga.ray", full_name="Olga Ray")
    renamed = Act.of_user(User.objects.get())
    with pytest.raises(services.SamePerson):
        services.confirm_release(row, act=renamed)


def test_one_person_is_enough_where_the_setting_says_so(hold: HoldExchange, settings: Any) -> None:
    settings.HOLD_RELEASE_PERSONS = 1
    row = services.request_release(hold(), act=OLGA, reason="flat")
    row.refresh_from_db()
    assert (row.state, row.released_by) == (HoldState.RELEASED, "os:olga")
    assert kinds()[1:] == ["HOLD_RELEASE_REQUESTED", "HOLD_RELEASED"]


@pytest.mark.parametrize("act", ["confirm", "withdraw"])
def test_after_fifteen_minutes_the_request_has_lapsed(requested: Hold, act: str) -> None:
    assert requested.release_requested_at
    Hold.objects.update(release_requested_at=requested.release_requested_at - LATE)
    change = services.confirm_release if act == "confirm" else services.withdraw_release
    with pytest.raises(services.ReleaseLapsed):
        change(requested, act=PETER)
    row = Hold.objects.get()
    assert (row.state, row.release_requested_by, row.release_reason) == (HoldState.ACTIVE, "", "")
    assert kinds()[-1] == "HOLD_RELEASE_LAPSED"


def test_just_before_that_it_can_be_confirmed(requested: Hold) -> None:
    assert requested.release_requested_at
    early = LATE - timedelta(seconds=11)
    Hold.objects.update(release_requested_at=requested.release_requested_at - early)
    assert services.confirm_release(requested, act=PETER).state == HoldState.RELEASED


def test_a_lapsed_request_can_be_made_again(requested: Hold) -> None:
    assert requested.release_requested_at
    Hold.objects.update(release_requested_at=requested.release_requested_at - LATE)
    row = services.request_release(requested, act=PETER, reason="now")
    assert (row.state, row.release_requested_by) == (HoldState.RELEASE_REQUESTED, "os:peter")


def test_a_request_can_be_withdrawn(requested: Hold) -> None:
    services.withdraw_release(requested, act=PETER)
    assert Hold.objects.get().state == HoldState.ACTIVE
    with pytest.raises(services.ReleaseNotRequested):
        services.confirm_release(requested, act=PETER)


def test_a_stale_page_confirms_nothing(requested: Hold) -> None:
    seen_at = Hold.objects.get().release_requested_at
    services.withdraw_release(requested, act=PETER)
    services.request_release(requested, act=OLGA, reason="again")
    for change in (services.confirm_release, services.withdraw_release):
        with pytest.raises(services.ReleaseNotRequested):
            change(requested, act=PETER, requested_at=seen_at)
    assert Hold.objects.get().state == HoldState.RELEASE_REQUESTED


def test_what_cannot_be_done_changes_nothing(requested: Hold) -> None:
    with pytest.raises(services.ReleaseAlreadyRequested):
        services.request_release(requested, act=PETER, reason="flat")
    with pytest.raises(services.ReasonMissing):
        services.request_release(requested, act=PETER, reason=" \n ")
    services.confirm_release(requested, act=PETER)
    before = kinds()
    for change in (services.confirm_release, services.withdraw_release):
        with pytest.raises(services.NotHeld):
            change(requested, act=PETER)
    with pytest.raises(services.NotHeld):
        services.request_release(requested, act=OLGA, reason="flat")
    assert kinds() == before


def test_the_origin_of_an_act_is_on_record(hold: HoldExchange) -> None:
    act = Act(by=Actor(name="Ann (ann)", role="RISK_OFFICER"), origin=Origin.BROWSER, address="1::")
    hold(act=act)
    event = AuditEvent.objects.get(kind="HOLD_STARTED")
    assert '"address":"1::"' in event.data
    assert (event.actor, event.role, event.exchange_id) == ("Ann (ann)", "RISK_OFFICER", "KRAKEN")
