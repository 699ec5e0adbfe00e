"""Acknowledging over HTTP: who is allowed to, and what the answer is."""

from collections.abc import Callable

import pytest
from django.test import Client

from killswitch.accounts.models import Role, User
from killswitch.alarms.models import Alarm, AlarmKind
from tests import factories

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
    raised = alarm(f"{olga.pk} 7", kind=AlarmKind.PEOPLE)
    refused = browser.post(f"/alarms/{raised.pk}/acknowledge/", headers=headers)
    assert refused.status_code == 409
    assert "concerns your account" in refused.content.decode()
    assert Alarm.objects.unacknowledged().exists()
    assert (
        "Another person must acknowledge this: it concerns your account"
        in browser.get("/").content.decode()
    )


@pytest.mark.parametrize(("kind", "about"), [(AlarmKind.PEOPLE, 1), (AlarmKind.OUTCOME, 0)])
def test_alarms_about_other_people_and_other_kinds_can_be_acknowledged(
    alarm: Raise, kind: AlarmKind, about: int
) -> None:
    browser = signed_in(Role.RISK_OFFICER)
    raised = alarm(f"{User.objects.get().pk + about} 7", kind=kind)
    assert browser.post(f"/alarms/{raised.pk}/acknowledge/").status_code == 302
    assert not Alarm.objects.unacknowledged().exists()
