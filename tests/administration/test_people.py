"""Administrators and people: what they can change, what they cannot, and what is recorded."""

import re
from typing import Any
from urllib.parse import quote_plus

import pytest
from django.core.exceptions import ValidationError
from django.test import Client

from killswitch.accounts.models import Role, User
from killswitch.accounts.services import keep_an_administrator
from killswitch.alarms.models import Alarm
from killswitch.audit.models import AuditEvent
from tests import factories
from tests.accounts.mfa.codes import CODE, SECOND_FACTOR, Clock, set_up
from tests.accounts.people import data, events, sign_in, signed_in
from tests.failures import full_log
from tests.forms import read_form, submit
from tests.markup import html
from tests.threads import run_at_once

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases, pytest.mark.usefixtures("limits")]
PEOPLE = "/administration/people/"
FRESH = "a much better one 7"
CHANGES = {
    "PERSON_ADDED",
    "PERSON_CHANGED",
    "ROLE_CHANGED",
    "PASSWORD_CHANGED",
    "SECOND_FACTOR_RESET",
}


@pytest.fixture
def ada(ada: Client) -> Client:
    """The browser of an administrator who has just confirmed the password."""
    return _confirmed(ada)


def _confirmed(client: Client) -> Client:
    client.post("/accounts/password/again/", {"password": factories.PASSWORD, "next": PEOPLE})
    return client


def _act(client: Client, person: User, act: str, **fields: str) -> Any:
    """Send the form of one act on a person's account."""
    path = f"{PEOPLE}{person.pk}/{act}/"
    return client.post(path, read_form(client.get(path)) | fields)


def _rename(client: Client, person: User, full_name: str, **more: str) -> Any:
    return submit(client, f"{PEOPLE}{person.pk}/", full_name=full_name, **more)


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
    assert User.objects.get(username="nora").must_change_password


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
    answer = _rename(ada, person, "System")
    assert "This name is reserved for the audit log" in answer.content.decode()
    own = User.objects.get(username="ada")
    answer = _rename(ada, own, "System")
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
    assert b'role="alert"' in page.content
    assert User.objects.count() == 1
    assert events(*CHANGES) == []


def test_a_new_role_ends_sessions_and_raises_an_alarm(ada: Client) -> None:
    browser = signed_in(Role.COMPLIANCE)
    carl = User.objects.get(username="carl")
    assert _act(ada, carl, "role", role="RISK_OFFICER").status_code == 302
    (event,) = events(*CHANGES)
    assert event.kind == "ROLE_CHANGED"
    assert data(event)["changes"] == {"role": ["COMPLIANCE", "RISK_OFFICER"]}
    alarm = Alarm.objects.get()
    assert alarm.title == "Carl Ito (carl) was made Risk officer by Ada Stone (ada)."
    # The old role given back does not bring the old session back.
    _act(ada, carl, "role", role="COMPLIANCE")
    assert browser.get("/accounts/password/change/").status_code == 302
    assert Alarm.objects.count() == 2


def test_a_new_password_ends_sessions_and_raises_an_alarm(ada: Client) -> None:
    browser = signed_in(Role.RISK_OFFICER)
    olga = User.objects.get(username="olga")
    assert _act(ada, olga, "password", password1=FRESH, password2=FRESH).status_code == 302
    assert browser.get("/accounts/password/change/").status_code == 302
    browser = Client()
    assert sign_in(browser, "olga", FRESH).status_code == 302
    assert browser.get("/")["Location"] == "/accounts/password/change/", "a password of their own"
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
    path = f"{PEOPLE}{olga.pk}/"
    assert b"Reset second factor" in ada.get(path).content
    assert b"Reset the second factor of Olga Ray?" in ada.get(f"{path}second-factor/").content
    assert _act(ada, olga, "second-factor").status_code == 302
    (event,) = events(*CHANGES)
    assert (event.kind, event.actor) == ("SECOND_FACTOR_RESET", "Ada Stone (ada)")
    assert data(event)["person"] == "Olga Ray (olga)"
    alarm = Alarm.objects.get()
    assert alarm.title == "Olga Ray (olga) had their second factor reset by Ada Stone (ada)."
    assert browser.get(SECOND_FACTOR).status_code == 302
    assert half.get(CODE)["Location"] == "/accounts/login/"
    assert sign_in(Client(), "olga")["Location"] == "/"


@pytest.mark.parametrize(
    ("policy", "then"),
    [
        ("optional", "They can then sign in with their password only"),
        ("required", "They must set up a new one when they next sign in."),
    ],
)
def test_the_question_says_what_a_reset_leads_to(
    ada: Client, clock: Clock, settings: Any, policy: str, then: str
) -> None:
    set_up(signed_in(Role.RISK_OFFICER), clock)
    set_up(ada, clock)
    settings.SECOND_FACTOR = policy
    path = f"{PEOPLE}{User.objects.get(username='olga').pk}/second-factor/"
    assert then in html(ada.get(path))


def test_a_person_without_a_second_factor_has_none_to_reset(ada: Client) -> None:
    olga = factories.person(Role.RISK_OFFICER)
    assert b"Reset second factor" not in ada.get(f"{PEOPLE}{olga.pk}/").content
    assert _act(ada, olga, "second-factor").status_code == 302
    assert events(*CHANGES) == []
    assert not Alarm.objects.exists()


def test_administrators_cannot_reset_their_own(ada: Client, clock: Clock) -> None:
    set_up(ada, clock)
    me = User.objects.get(username="ada")
    assert b"Reset second factor" not in ada.get(f"{PEOPLE}{me.pk}/").content
    _act(ada, me, "second-factor")
    assert events(*CHANGES) == []
    assert sign_in(Client(), "ada")["Location"] == CODE


def test_switching_off_and_on_is_recorded_and_each_is_an_alarm(ada: Client) -> None:
    browser = signed_in(Role.RISK_OFFICER)
    olga = User.objects.get(username="olga")
    assert b"They can no longer sign in." in ada.get(f"{PEOPLE}{olga.pk}/disable/").content
    assert browser.get("/accounts/password/change/").status_code == 200
    _act(ada, olga, "disable")
    assert browser.get("/accounts/password/change/").status_code == 302
    assert Alarm.objects.get().title == ("Olga Ray (olga) was disabled by Ada Stone (ada).")
    _act(ada, olga, "enable")
    assert Alarm.objects.order_by("id").last().title == (  # type: ignore[union-attr]
        "Olga Ray (olga) was enabled again by Ada Stone (ada)."
    )
    first, second = events(*CHANGES)
    assert data(first)["changes"] == {"is_active": [True, False]}
    assert data(second)["changes"] == {"is_active": [False, True]}


def test_a_new_name_is_recorded_and_no_alarm(ada: Client) -> None:
    olga = factories.person(Role.RISK_OFFICER)
    assert _rename(ada, olga, "Olga M").status_code == 302
    (event,) = events(*CHANGES)
    assert data(event)["changes"] == {"full_name": ["Olga Ray", "Olga M"]}
    assert not Alarm.objects.exists()


def test_saving_without_a_change_leaves_no_event(ada: Client) -> None:
    olga = factories.person(Role.RISK_OFFICER)
    assert _rename(ada, olga, "Olga Ray").status_code == 302
    assert _act(ada, olga, "role", role="RISK_OFFICER").status_code == 302
    assert _act(ada, olga, "enable").status_code == 302
    assert events(*CHANGES) == []


def test_administrators_change_only_the_name_of_their_own_record(ada: Client) -> None:
    factories.person(Role.ADMINISTRATOR, username="eve")
    me = User.objects.get(username="ada")
    page = html(ada.get(f"{PEOPLE}{me.pk}/"))
    assert "This is your own account. Another administrator changes your role" in page
    assert f"{PEOPLE}{me.pk}/role/" not in page
    more = {"role": "RISK_OFFICER", "is_active": "", "password1": FRESH, "password2": FRESH}
    assert _rename(ada, me, "Ada W", **more).status_code == 302
    for act in ("role", "password", "second-factor", "disable", "enable"):
        assert _act(ada, me, act, **more)["Location"] == f"{PEOPLE}{me.pk}/", act
    after = User.objects.get(username="ada")
    assert (after.role, after.is_active, after.full_name) == ("ADMINISTRATOR", True, "Ada W")
    assert after.check_password(factories.PASSWORD)
    assert [event.kind for event in events(*CHANGES)] == ["PERSON_CHANGED"]


def test_a_username_cannot_be_changed(ada: Client) -> None:
    olga = factories.person(Role.RISK_OFFICER)
    _rename(ada, olga, "Olga Ray", username="another")
    assert User.objects.get(pk=olga.pk).username == "olga"


def test_people_cannot_be_deleted(ada: Client) -> None:
    olga = factories.person(Role.RISK_OFFICER)
    for path in (f"{PEOPLE}{olga.pk}/delete/", f"{PEOPLE}{olga.pk}/remove/"):
        assert ada.post(path, {"post": "yes"}).status_code == 404
    assert ada.delete(f"{PEOPLE}{olga.pk}/").status_code == 405
    assert User.objects.filter(pk=olga.pk).exists()
    assert "Users are never deleted, because the audit log names them" in html(ada.get(PEOPLE))


def test_two_administrators_who_demote_each_other_at_once_leave_one(
    transactional_db: None,
) -> None:
    ada = _confirmed(signed_in(Role.ADMINISTRATOR))
    eve = _confirmed(signed_in(Role.ADMINISTRATOR, username="eve"))
    me, her = User.objects.get(username="ada"), User.objects.get(username="eve")
    for _ in range(5):
        run_at_once(
            lambda: _act(ada, her, "role", role="COMPLIANCE"),
            lambda: _act(eve, me, "role", role="COMPLIANCE"),
        )
        administrators = list(User.objects.filter(role=Role.ADMINISTRATOR))
        assert len(administrators) == 1
        User.objects.update(role=Role.ADMINISTRATOR, session_epoch=0)


def test_the_last_administrator_stays_one(ada: Client) -> None:
    eve = factories.person(Role.ADMINISTRATOR, username="eve")
    assert _act(ada, eve, "role", role="COMPLIANCE").status_code == 302
    # As if both had begun while the other still was an administrator.
    User.objects.filter(username="ada").update(is_demo=True)
    User.objects.filter(pk=eve.pk).update(role=Role.ADMINISTRATOR)
    eve.role = Role.COMPLIANCE
    with pytest.raises(ValidationError, match="last administrator"):
        keep_an_administrator(eve)


@pytest.mark.parametrize("act", ["role", "password", "second-factor", "disable", "enable"])
def test_an_act_asks_for_the_administrators_own_password(act: str, clock: Clock) -> None:
    """Someone at an unlocked screen must not take over an account."""
    browser = signed_in(Role.RISK_OFFICER)
    set_up(browser, clock)
    olga = User.objects.get(username="olga")
    before = User.objects.filter(pk=olga.pk).values().get()
    client = Client()
    client.force_login(factories.person(Role.ADMINISTRATOR))  # its password was not given lately
    fields = {"role": "COMPLIANCE", "password1": FRESH, "password2": FRESH}
    path = f"{PEOPLE}{olga.pk}/{act}/"
    for answer in (client.get(path), client.post(path, fields)):
        assert answer["Location"] == f"/accounts/password/again/?next={quote_plus(path)}"
    assert User.objects.filter(pk=olga.pk).values().get() == before
    assert events(*CHANGES) == []
    client.post("/accounts/password/again/", {"password": factories.PASSWORD, "next": path})
    assert client.get(path).status_code == 200


def test_adding_somebody_asks_for_it_as_well() -> None:
    client = Client()
    client.force_login(factories.person(Role.ADMINISTRATOR))
    path = f"{PEOPLE}add/"
    location = client.post(path, {})["Location"]
    assert location == f"/accounts/password/again/?next={quote_plus(path)}"


def test_one_act_does_one_thing(ada: Client, clock: Clock) -> None:
    browser = signed_in(Role.RISK_OFFICER)
    set_up(browser, clock)
    olga = User.objects.get(username="olga")
    everything = {"role": "COMPLIANCE", "reset_second_factor": "on", "is_active": ""}
    _act(ada, olga, "password", password1=FRESH, password2=FRESH, **everything)
    assert [event.kind for event in events(*CHANGES)] == ["PASSWORD_CHANGED"]
    after = User.objects.get(pk=olga.pk)
    assert (after.role, after.is_active) == ("RISK_OFFICER", True)
    assert sign_in(Client(), "olga", FRESH)["Location"] == CODE


def test_the_list_says_who_has_a_second_factor_and_when_they_signed_in(
    ada: Client, clock: Clock, settings: Any
) -> None:
    set_up(signed_in(Role.RISK_OFFICER), clock)
    factories.person(Role.COMPLIANCE, is_active=False)
    rows = {row.split("<small>")[1].split("<")[0].split()[0]: row for row in _rows(ada)}
    assert ">Yes</td>" in rows["olga"]
    assert ">No</td>" in rows["carl"]
    assert "s ago</small>" in rows["olga"]
    assert ">Never</td>" in rows["carl"]
    assert ">Disabled</b>" in rows["carl"]
    settings.SECOND_FACTOR = "required"
    User.objects.filter(username="ada").update(is_active=True)
    set_up(ada, clock)
    rows = {row.split("<small>")[1].split("<")[0].split()[0]: row for row in _rows(ada)}
    assert "No: must be set up at the next sign-in" in rows["carl"]


def _rows(client: Client) -> list[str]:
    body = html(client.get(PEOPLE)).split("<tbody>")[1].split("</tbody>")[0]
    return body.split("</tr>")[:-1]


def test_each_role_is_explained_where_it_is_chosen(ada: Client) -> None:
    olga = factories.person(Role.RISK_OFFICER)
    for path in ("add/", f"{olga.pk}/role/"):
        page = html(ada.get(PEOPLE + path))
        assert "Cancels orders, holds exchanges and acknowledges alarms." in page
        assert "signs off and exports the audit log. Cannot cancel." in page
        assert "Manages exchanges, groups, users and the runbook." in page


def test_an_error_is_next_to_its_field_and_the_input_is_kept(ada: Client) -> None:
    form = {"username": "nora lind", "full_name": "Nora Lind", "role": "COMPLIANCE"}
    form |= {"password1": FRESH, "password2": "another one 123"}
    page = html(ada.post(f"{PEOPLE}add/", form))
    assert 'aria-describedby="id_username_helptext id_username_error" id="id_username"' in page
    assert 'id="id_username_error"><li>Use only letters' in page
    assert 'id="id_password2_error"><li>The two passwords do not match.' in page
    assert 'value="nora lind"' in page
    assert 'value="COMPLIANCE" id="id_role_1" required checked' in page
    assert FRESH not in page


def test_nothing_changes_when_the_log_takes_no_event(ada: Client) -> None:
    olga = factories.person(Role.RISK_OFFICER)
    before = list(User.objects.order_by("pk").values())
    ada.raise_request_exception = False
    with full_log():
        form = {"username": "nora", "role": "COMPLIANCE", "password1": FRESH, "password2": FRESH}
        assert ada.post(f"{PEOPLE}add/", form).status_code == 503
        assert _rename(ada, olga, "Olga M").status_code == 503
        assert _act(ada, olga, "password", password1=FRESH, password2=FRESH).status_code == 503
        for act in ("role", "disable"):
            assert _act(ada, olga, act, role="COMPLIANCE").status_code == 503
    assert list(User.objects.order_by("pk").values()) == before


@pytest.mark.parametrize(
    "path",
    [
        "exchanges/",
        "exchanges/add/",
        "groups/",
        "groups/add/",
        "people/",
        "people/add/",
        "runbook/",
    ],
)
def test_the_pages_need_nothing_inline(ada: Client, path: str) -> None:
    page = ada.get(f"/administration/{path}")
    assert page.status_code == 200
    text = html(page)
    assert "<style" not in text
    assert " style=" not in text
    assert " onclick=" not in text
    assert not re.search(r"<script(?![^>]* src=)", text)
    assert "script-src 'self'" in page["Content-Security-Policy"]
    assert "/accounts/logout/" in text
    assert "· Kill switch ·" in text.split("<title>")[1].split("</title>")[0]
    for name in ("Exchanges", "Groups", "Users", "Runbook"):
        assert f">{name}</a>" in text
    assert text.count('aria-current="page"') == 1
    for name in ("Console", "Requests"):
        assert f">{name}</a>" not in text


@pytest.mark.parametrize("path", ["", "accounts/user/", "accounts/user/7/change/", "x"])
def test_the_old_addresses_lead_to_the_new_pages(ada: Client, path: str) -> None:
    assert ada.get(f"/admin/{path}")["Location"] == "/administration/exchanges/"


def test_a_page_that_is_out_of_date_overwrites_neither_name_nor_role(ada: Client) -> None:
    carl = factories.person(Role.COMPLIANCE, username="carl", full_name="Carl Ito")
    path = f"{PEOPLE}{carl.pk}/"
    name, role = read_form(ada.get(path)), read_form(ada.get(f"{path}role/"))
    _rename(ada, carl, "Carl I. Ito")
    _act(ada, carl, "role", role="ADMINISTRATOR")
    page = html(ada.post(path, name | {"full_name": "Karl Ito"}))
    assert "It is now “Carl I. Ito”. Save again to replace that with yours." in page
    page = html(ada.post(f"{path}role/", role | {"role": "RISK_OFFICER"}))
    assert "It is now “Administrator”. Save again to replace that with yours." in page
    carl.refresh_from_db()
    assert (carl.full_name, carl.role) == ("Carl I. Ito", "ADMINISTRATOR")


def test_two_clicks_on_add_add_one_user_and_fail_in_words(
    transactional_db: None, ada: Client
) -> None:
    form = {"username": "nora", "role": "COMPLIANCE", "password1": FRESH, "password2": FRESH}
    answers = run_at_once(*[lambda: ada.post(f"{PEOPLE}add/", form)] * 2)
    assert sorted(answer.status_code for answer in answers) == [200, 302]
    refused = next(answer for answer in answers if answer.status_code == 200)
    assert "If you have just added them, they were saved." in html(refused)
    assert len(events("PERSON_ADDED")) == 1


@pytest.mark.parametrize(
    ("act", "fields", "sentence"),
    [
        ("role", {"role": "COMPLIANCE"}, "is now Compliance."),
        ("password", {"password1": FRESH, "password2": FRESH}, "has a new password, and must"),
        ("disable", {}, "is disabled and can no longer sign in."),
        ("enable", {}, "is enabled and can sign in."),
    ],
)
def test_an_act_says_what_is_true_afterwards(
    ada: Client, act: str, fields: dict[str, str], sentence: str
) -> None:
    nora = factories.person(Role.COMPLIANCE, username="nora", full_name="Nora Lind")
    _act(ada, nora, act, **fields)
    assert f"Nora Lind (nora) {sentence}" in html(ada.get(f"{PEOPLE}{nora.pk}/"))


def test_what_was_typed_is_shown_when_the_password_must_be_confirmed_again() -> None:
    ada = signed_in(Role.ADMINISTRATOR)
    form = {"username": "nora", "role": "COMPLIANCE", "password1": FRESH, "password2": FRESH}
    page = ada.post(f"{PEOPLE}add/", form | {"full_name": "Nora <b>Lind</b>\u202e"})
    text = html(page)
    assert page.status_code == 200  # like every form that is refused
    assert "Nothing was saved" in text
    assert "Nora &lt;b&gt;Lind&lt;/b&gt;\\u202e" in text
    assert "/accounts/password/again/?next=%2Fadministration%2Fpeople%2Fadd%2F" in text
    assert FRESH not in text
    assert not User.objects.filter(username="nora").exists()


def test_a_question_without_anything_typed_leads_to_the_password_at_once() -> None:
    ada = signed_in(Role.ADMINISTRATOR)
    carl = factories.person(Role.COMPLIANCE, username="carl")
    answer = ada.post(f"{PEOPLE}{carl.pk}/disable/", {})
    assert (answer.status_code, answer["Location"][:26]) == (302, "/accounts/password/again/?")
