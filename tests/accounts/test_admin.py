"""Administrators and people: what they can change, what they cannot, and what is recorded."""

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.core.exceptions import ValidationError
from django.test import Client

from killswitch.accounts.models import Role, User
from killswitch.accounts.services import keep_an_administrator
from killswitch.alarms.models import Alarm
from killswitch.audit.models import AuditEvent
from tests import factories
from tests.accounts.mfa.codes import CODE, SECOND_FACTOR, Clock, set_up
from tests.accounts.people import data, events, sign_in, signed_in
from tests.threads import run_at_once

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases, pytest.mark.usefixtures("limits")]
PEOPLE = "/admin/accounts/user/"
FRESH = "a much better one 7"
CHANGES = {
    "PERSON_ADDED",
    "PERSON_CHANGED",
    "ROLE_CHANGED",
    "PASSWORD_CHANGED",
    "SECOND_FACTOR_RESET",
}


def _change(client: Client, person: User, **fields: Any) -> Any:
    """Send the person's form as the page shows it, with some fields changed."""
    page = {"full_name": person.full_name, "role": person.role, "is_active": "on"}
    form = {name: value for name, value in (page | fields).items() if value is not None}
    return client.post(f"{PEOPLE}{person.pk}/change/", form)


def test_a_person_is_added_and_can_sign_in(ada: Client) -> None:
    form = {"username": "Nora", "full_name": "Nora Lind", "role": "COMPLIANCE"}
    answer = ada.post(
        f"{PEOPLE}add/", form | {"password1": factories.PASSWORD, "password2": factories.PASSWORD}
    )
    assert answer.status_code == 302
    assert sign_in(Client(), "nora").status_code == 302
    (event,) = events("PERSON_ADDED")
    assert (event.actor, event.role) == ("Ada Stone (ada)", "ADMINISTRATOR")
    assert data(event)["person"] == "Nora Lind (nora)"
    assert data(event)["changes"]["role"] == [None, "COMPLIANCE"]
    assert data(event)["address"] == "127.0.0.1"
    assert Alarm.objects.get().title == (
        "Nora Lind (nora) was added as Compliance by Ada Stone (ada)."
    )
    assert not any(factories.PASSWORD in event.data for event in AuditEvent.objects.all())
    assert not LogEntry.objects.exists()


@pytest.mark.parametrize("wrong", [{"username": "System"}, {"full_name": "anonymous"}])
def test_a_name_that_the_log_uses_for_itself_is_refused(ada: Client, wrong: dict[str, str]) -> None:
    form = {"username": "nora", "full_name": "Nora Lind", "role": "COMPLIANCE"} | wrong
    answer = ada.post(
        f"{PEOPLE}add/", form | {"password1": factories.PASSWORD, "password2": factories.PASSWORD}
    )
    assert answer.status_code == 200
    assert "This name is reserved for the audit log" in answer.content.decode()
    assert User.objects.count() == 1
    person = factories.person(Role.COMPLIANCE)
    answer = _change(ada, person, full_name="System")
    assert "This name is reserved for the audit log" in answer.content.decode()
    own = User.objects.get(username="ada")
    answer = _change(ada, own, full_name="System")
    assert "This name is reserved for the audit log" in answer.content.decode()


@pytest.mark.parametrize(
    "wrong",
    [
        {"password2": "another one 123"},
        {"password1": "short", "password2": "short"},
        {"password1": "", "password2": ""},
        {
            "password1": "nora-lind-nora",
            "password2": "nora-lind-nora",
            "username": "nora-lind-nora",
        },
        {"username": "nora lind"},
        {"username": "ADA"},
        {"role": "KING"},
        {"role": ""},
        {"full_name": "Nora\x07"},
    ],
    ids=str,
)
def test_an_invalid_person_is_refused(ada: Client, wrong: dict[str, str]) -> None:
    right = {"username": "nora", "role": "COMPLIANCE"}
    right |= {"password1": factories.PASSWORD, "password2": factories.PASSWORD}
    page = ada.post(f"{PEOPLE}add/", right | wrong)
    assert page.status_code == 200
    assert b"errorlist" in page.content
    assert User.objects.count() == 1
    assert events(*CHANGES) == []


def test_a_new_role_ends_sessions_and_raises_an_alarm(ada: Client) -> None:
    browser = signed_in(Role.COMPLIANCE)
    carl = User.objects.get(username="carl")
    assert _change(ada, carl, role="RISK_OFFICER").status_code == 302
    (event,) = events(*CHANGES)
    assert event.kind == "ROLE_CHANGED"
    assert data(event)["changes"] == {"role": ["COMPLIANCE", "RISK_OFFICER"]}
    alarm = Alarm.objects.get()
    assert alarm.title == "Carl Ito (carl) was given the role Risk officer by Ada Stone (ada)."
    # The old role given back does not bring the old session back.
    _change(ada, User.objects.get(pk=carl.pk), role="COMPLIANCE")
    assert browser.get("/accounts/password/change/").status_code == 302
    assert Alarm.objects.count() == 2


def test_a_new_password_ends_sessions_and_raises_an_alarm(ada: Client) -> None:
    browser = signed_in(Role.RISK_OFFICER)
    olga = User.objects.get(username="olga")
    assert _change(ada, olga, password1=FRESH, password2=FRESH).status_code == 302
    assert browser.get("/accounts/password/change/").status_code == 302
    assert sign_in(Client(), "olga", FRESH).status_code == 302
    (event,) = events(*CHANGES)
    assert (event.kind, event.actor) == ("PASSWORD_CHANGED", "Ada Stone (ada)")
    assert FRESH not in event.data
    assert Alarm.objects.get().title == (
        "Olga Ray (olga) was given a new password by Ada Stone (ada)."
    )


def test_a_lost_second_factor_is_reset_with_an_event_and_an_alarm(
    ada: Client, clock: Clock
) -> None:
    browser = signed_in(Role.RISK_OFFICER)
    set_up(browser, clock)
    half = Client()
    assert sign_in(half, "olga")["Location"] == CODE
    olga = User.objects.get(username="olga")
    assert b"Reset their second factor" in ada.get(f"{PEOPLE}{olga.pk}/change/").content
    assert _change(ada, olga, reset_second_factor="on").status_code == 302
    (event,) = events(*CHANGES)
    assert (event.kind, event.actor) == ("SECOND_FACTOR_RESET", "Ada Stone (ada)")
    assert data(event)["person"] == "Olga Ray (olga)"
    alarm = Alarm.objects.get()
    assert alarm.title == "Olga Ray (olga) had their second factor reset by Ada Stone (ada)."
    assert browser.get(SECOND_FACTOR).status_code == 302
    assert half.get(CODE)["Location"] == "/accounts/login/"
    assert sign_in(Client(), "olga")["Location"] == "/"


def test_a_person_without_a_second_factor_has_none_to_reset(ada: Client) -> None:
    olga = factories.person(Role.RISK_OFFICER)
    assert b"second factor</label>" not in ada.get(f"{PEOPLE}{olga.pk}/change/").content
    assert _change(ada, olga, reset_second_factor="on").status_code == 302
    assert events(*CHANGES) == []
    assert not Alarm.objects.exists()


def test_administrators_cannot_reset_their_own(ada: Client, clock: Clock) -> None:
    set_up(ada, clock)
    me = User.objects.get(username="ada")
    assert b"Reset their" not in ada.get(f"{PEOPLE}{me.pk}/change/").content
    _change(ada, me, reset_second_factor="on")
    assert events(*CHANGES) == []
    assert sign_in(Client(), "ada")["Location"] == CODE


def test_switching_off_and_on_is_recorded_and_each_is_an_alarm(ada: Client) -> None:
    browser = signed_in(Role.RISK_OFFICER)
    olga = User.objects.get(username="olga")
    _change(ada, olga, is_active=None, full_name="Olga M")
    assert browser.get("/accounts/password/change/").status_code == 302
    assert Alarm.objects.get().title == ("Olga M (olga) was disabled by Ada Stone (ada).")
    _change(ada, User.objects.get(pk=olga.pk))
    assert Alarm.objects.order_by("id").last().title == (  # type: ignore[union-attr]
        "Olga M (olga) was enabled again by Ada Stone (ada)."
    )
    first, second = events(*CHANGES)
    assert data(first)["changes"] == {
        "full_name": ["Olga Ray", "Olga M"],
        "is_active": [True, False],
    }
    assert data(second)["changes"]["is_active"] == [False, True]


def test_saving_without_a_change_leaves_no_event(ada: Client) -> None:
    assert _change(ada, factories.person(Role.RISK_OFFICER)).status_code == 302
    assert events(*CHANGES) == []


def test_administrators_cannot_change_their_own_role_or_password_or_switch_themselves_off(
    ada: Client,
) -> None:
    factories.person(Role.ADMINISTRATOR, username="eve")
    me = User.objects.get(username="ada")
    form = {"role": "RISK_OFFICER", "is_active": None, "password1": FRESH, "password2": FRESH}
    assert _change(ada, me, full_name="Ada W", **form).status_code == 302
    after = User.objects.get(username="ada")
    assert (after.role, after.is_active, after.full_name) == ("ADMINISTRATOR", True, "Ada W")
    assert after.check_password(factories.PASSWORD)
    assert [event.kind for event in events(*CHANGES)] == ["PERSON_CHANGED"]


def test_a_username_cannot_be_changed(ada: Client) -> None:
    olga = factories.person(Role.RISK_OFFICER)
    _change(ada, olga, username="another")
    assert User.objects.get(pk=olga.pk).username == "olga"


def test_people_cannot_be_deleted_or_changed_manyrun_at_once(ada: Client) -> None:
    olga = factories.person(Role.RISK_OFFICER)
    for path in (f"{PEOPLE}{olga.pk}/delete/", f"{PEOPLE}{olga.pk}/history/"):
        assert ada.post(path, {"post": "yes"}).status_code in {302, 404}
    action = {"action": "delete_selected", "_selected_action": [str(olga.pk)], "post": "yes"}
    ada.post(PEOPLE, action)
    assert User.objects.filter(pk=olga.pk).exists()
    page = ada.get(f"{PEOPLE}{olga.pk}/change/").content
    assert b"deletelink" not in page
    assert b"historylink" not in page


def test_two_administrators_who_demote_each_other_at_once_leave_one(
    transactional_db: None,
) -> None:
    ada, eve = signed_in(Role.ADMINISTRATOR), signed_in(Role.ADMINISTRATOR, username="eve")
    me, her = User.objects.get(username="ada"), User.objects.get(username="eve")
    for _ in range(5):
        run_at_once(
            lambda: _change(ada, her, role="COMPLIANCE"),
            lambda: _change(eve, me, role="COMPLIANCE"),
        )
        administrators = list(User.objects.filter(role=Role.ADMINISTRATOR))
        assert len(administrators) == 1
        User.objects.update(role=Role.ADMINISTRATOR, session_epoch=0)


def test_the_last_administrator_stays_one(ada: Client) -> None:
    eve = factories.person(Role.ADMINISTRATOR, username="eve")
    assert _change(ada, eve, role="COMPLIANCE").status_code == 302
    # As if both had begun while the other still was an administrator.
    User.objects.filter(username="ada").update(is_demo=True)
    User.objects.filter(pk=eve.pk).update(role=Role.ADMINISTRATOR)
    eve.role = Role.COMPLIANCE
    with pytest.raises(ValidationError, match="last administrator"):
        keep_an_administrator(eve)


def test_only_people_and_exchanges_are_shown(ada: Client) -> None:
    page = ada.get("/admin/").content.decode()
    assert PEOPLE in page
    assert "/admin/exchanges/exchange/" in page
    for path in ("/admin/auth/group/", "/admin/account/emailaddress/", "/admin/login/"):
        assert path not in page
        assert ada.get(path).status_code == 404


@pytest.mark.parametrize(
    "path", ["/admin/", PEOPLE, f"{PEOPLE}add/", "/admin/exchanges/exchange/add/", "me"]
)
def test_the_admin_pages_need_nothing_inline(ada: Client, path: str) -> None:
    me = User.objects.get(username="ada")
    page = ada.get(path if path != "me" else f"{PEOPLE}{me.pk}/change/")
    assert page.status_code == 200
    html = page.content.decode()
    assert "<style" not in html
    assert " style=" not in html
    assert " onclick=" not in html
    assert all(" src=" in tag.split(">")[0] for tag in html.split("<script")[1:])
    assert "script-src 'self'" in page["Content-Security-Policy"]
    assert "/accounts/logout/" in html
