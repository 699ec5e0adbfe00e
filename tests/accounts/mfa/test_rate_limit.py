"""Codes cannot be guessed, not even from many addresses."""

import pytest
from django.test import Client

from killswitch.accounts.models import Role, User
from killswitch.accounts.services import save_user
from killswitch.alarms.models import Alarm
from killswitch.audit.chain import SYSTEM
from tests.accounts.mfa.codes import CODE, SECOND_FACTOR, Clock, code_at, set_up
from tests.accounts.people import PASSWORD, events, sign_in, signed_in

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.both_databases,
    pytest.mark.usefixtures("limits"),
]


@pytest.fixture
def secret(clock: Clock) -> str:
    """The secret with which a risk officer set up their app."""
    return set_up(signed_in(Role.RISK_OFFICER), clock)


def half_signed_in(number: int, password: str = PASSWORD) -> Client:
    """A browser with its own address, in which only the password was entered."""
    browser = Client(REMOTE_ADDR=f"192.0.2.{number}")
    assert sign_in(browser, "rita", password)["Location"] == CODE
    return browser


def guess(count: int) -> None:
    for number in range(count):
        half_signed_in(number).post(CODE, {"code": "000000"})


def test_after_twenty_wrong_codes_from_anywhere_no_more_are_accepted_and_one_alarm_is_raised(
    secret: str, clock: Clock
) -> None:
    guess(20)
    assert not Alarm.objects.exists()
    for number in range(20, 23):
        refused = half_signed_in(number).post(CODE, {"code": code_at(secret, clock.now)})
        assert (refused.status_code, refused["Retry-After"]) == (429, "3600")
        assert b"Too many wrong codes" in refused.content
    assert Alarm.objects.get().title.startswith("Too many wrong codes for Rita Moss (rita)")
    assert len(events("ALARM_RAISED")) == 1


def test_a_new_password_starts_a_new_count(secret: str, clock: Clock) -> None:
    guess(21)
    fresh = "a fresh long password"
    save_user(User.objects.get(), new_password=fresh, by=SYSTEM)
    browser = half_signed_in(99, fresh)
    browser.post(CODE, {"code": code_at(secret, clock.now)})
    assert browser.get(SECOND_FACTOR).status_code == 200


def test_right_codes_are_not_counted(secret: str, clock: Clock) -> None:
    for number in range(22):
        half_signed_in(number).post(CODE, {"code": code_at(secret, clock.now)})
        clock.next_code()
    assert not Alarm.objects.exists()
