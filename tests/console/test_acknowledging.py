"""Acknowledging over HTTP: who is allowed to, and what the answer is."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from killswitch.accounts.models import Role, User
from killswitch.alarms.models import Alarm, AlarmKind
from killswitch.audit.descriptions import describe
from killswitch.audit.models import EventKind
from killswitch.audit.needing_review import needs_review
from tests import factories
from tests.accounts.people import events
from tests.markup import html

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True)]

Raise = Callable[..., Alarm]


def signed_in(role: Role) -> Client:
    client = Client()
    client.force_login(factories.person(role, username=role.value.lower(), full_name="Olga Ray"))
    return client


def test_htmx_gets_204_and_a_refresh(alarm: Raise) -> None:
    raised = alarm()
    response = signed_in(Role.RISK_OFFICER).post(
        f"/alarms/{raised.pk}/acknowledge/", headers={"HX-Request": "true"}
    )
    assert (response.status_code, response.headers["HX-Trigger"]) == (204, "refresh")
    raised.refresh_from_db()
    assert "Olga Ray" in raised.acknowledged_by


def test_a_plain_browser_is_led_back_to_the_console(alarm: Raise) -> None:
    response = signed_in(Role.RISK_OFFICER).post(f"/alarms/{alarm().pk}/acknowledge/")
    assert (response.status_code, response.headers["Location"]) == (302, "/")
    assert not Alarm.objects.unacknowledged().exists()


@pytest.mark.parametrize("role", [Role.COMPLIANCE, Role.ADMINISTRATOR])
def test_other_roles_cannot_acknowledge(alarm: Raise, role: Role) -> None:
    response = signed_in(role).post(f"/alarms/{alarm().pk}/acknowledge/")
    assert response.status_code == 403
    assert Alarm.objects.unacknowledged().exists()


def test_acknowledging_requires_a_sign_in(alarm: Raise) -> None:
    response = Client().post(f"/alarms/{alarm().pk}/acknowledge/")
    assert response.status_code == 302
    assert response.headers["Location"].startswith("/accounts/login/")
    assert Alarm.objects.unacknowledged().exists()


def test_a_get_acknowledges_no_alarm(alarm: Raise) -> None:
    response = signed_in(Role.RISK_OFFICER).get(f"/alarms/{alarm().pk}/acknowledge/")
    assert response.status_code == 405
    assert Alarm.objects.unacknowledged().exists()


@pytest.mark.parametrize("alarm_id", [1, 10**30])
def test_an_unknown_alarm_is_not_found(alarm_id: int) -> None:
    response = signed_in(Role.RISK_OFFICER).post(f"/alarms/{alarm_id}/acknowledge/")
    assert response.status_code == 404


@pytest.mark.parametrize("headers", [{}, {"HX-Request": "true"}])
def test_a_person_cannot_acknowledge_an_alarm_about_their_own_account(
    alarm: Raise, headers: dict[str, str]
) -> None:
    browser = signed_in(Role.RISK_OFFICER)
    olga = User.objects.get()
    factories.person(Role.RISK_OFFICER, username="ivan")
    raised = alarm(f"{olga.pk} 7", kind=AlarmKind.PEOPLE)
    refused = browser.post(f"/alarms/{raised.pk}/acknowledge/", headers=headers)
    assert refused.status_code == 409
    assert "concerns your account" in refused.content.decode()
    assert Alarm.objects.unacknowledged().exists()
    assert (
        "Another person must acknowledge this: it concerns your account"
        in browser.get("/").content.decode()
    )


@pytest.mark.parametrize("headers", [{}, {"HX-Request": "true"}])
def test_the_only_officer_clears_what_concerns_them_after_confirming_their_password(
    alarm: Raise, headers: dict[str, str]
) -> None:
    browser = signed_in(Role.RISK_OFFICER)
    olga = User.objects.get()
    factories.person(Role.RISK_OFFICER, username="gone", is_active=False)
    factories.person(Role.COMPLIANCE)
    raised = alarm(f"{olga.pk} 7", kind=AlarmKind.PEOPLE)
    url = f"/alarms/{raised.pk}/acknowledge/"
    refused = browser.post(url, headers=headers)
    target = refused.headers.get("HX-Redirect") or refused.headers["Location"]
    assert target == "/accounts/password/again/?next=%2Falarms%2F"
    assert Alarm.objects.unacknowledged().exists()
    assert "Acknowledge this (password)" in html(browser.get("/"))
    confirmed = browser.post(target, {"password": factories.PASSWORD, "next": "/alarms/"})
    assert confirmed.headers["Location"] == "/alarms/"
    assert browser.post(url, headers=headers).status_code in {204, 302}
    raised.refresh_from_db()
    assert raised.by_person_concerned
    assert "Concerns their own account; there was no other risk officer." in html(
        browser.get("/alarms/")
    )
    (event,) = events(EventKind.ALARM_ACKNOWLEDGED)
    assert needs_review(event)
    assert "no other risk officer exists" in describe(event)


@pytest.mark.parametrize(
    ("other", "is_demo_system", "is_refused"),
    [
        ({}, False, True),
        ({"is_demo": True}, False, False),
        ({"is_demo": True}, True, True),
        ({"is_active": False}, False, False),
    ],
)
def test_another_officer_who_can_sign_in_must_acknowledge_it(
    alarm: Raise,
    settings: Any,
    other: dict[str, bool],
    is_demo_system: bool,
    is_refused: bool,
) -> None:
    settings.DEMO = is_demo_system
    browser = signed_in(Role.RISK_OFFICER)
    olga = User.objects.get()
    factories.person(Role.RISK_OFFICER, username="ivan", **other)
    raised = alarm(f"{olga.pk} 7", kind=AlarmKind.PEOPLE)
    browser.post("/accounts/password/again/", {"password": factories.PASSWORD})
    answer = browser.post(f"/alarms/{raised.pk}/acknowledge/")
    assert (answer.status_code == 409) is is_refused
    assert Alarm.objects.unacknowledged().exists() is is_refused


@pytest.mark.parametrize(("kind", "about"), [(AlarmKind.PEOPLE, 1), (AlarmKind.OUTCOME, 0)])
def test_alarms_about_other_people_and_other_kinds_can_be_acknowledged(
    alarm: Raise, kind: AlarmKind, about: int
) -> None:
    browser = signed_in(Role.RISK_OFFICER)
    raised = alarm(f"{User.objects.get().pk + about} 7", kind=kind)
    assert browser.post(f"/alarms/{raised.pk}/acknowledge/").status_code == 302
    assert not Alarm.objects.unacknowledged().exists()
