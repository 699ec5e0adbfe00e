"""Codes cannot be guessed, not even from many addresses."""

from typing import Any

import pytest
from django.contrib.auth.hashers import make_password
from django.test import Client

from killswitch.accounts.models import Role, User
from killswitch.accounts.services import save_user
from killswitch.alarms.models import Alarm
from killswitch.audit.actors import SYSTEM
from tests.accounts.mfa.codes import CODE, SECOND_FACTOR, Clock, code_at, half_signed_in, set_up
from tests.accounts.people import events, signed_in
from tests.factories import PASSWORD

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases, pytest.mark.usefixtures("limits")]


@pytest.fixture
def secret(clock: Clock) -> str:
    """The secret with which a risk officer set up their app."""
    return set_up(signed_in(Role.RISK_OFFICER), clock)


def enter(code: str, *, number: int, password: str = PASSWORD) -> tuple[Client, Any]:
    """Enter a code after the password, from an address of its own."""
    browser = half_signed_in(password=password, REMOTE_ADDR=f"192.0.2.{number}")
    return browser, browser.post(CODE, {"code": code})


def guess(count: int) -> None:
    for number in range(count):
        enter("000000", number=number)


def test_after_twenty_wrong_codes_from_anywhere_no_more_are_accepted_and_one_alarm_is_raised(
    secret: str, clock: Clock
) -> None:
    guess(20)
    assert not Alarm.objects.exists()
    for number in range(20, 23):
        _, refused = enter(code_at(secret, clock.now), number=number)
        assert (refused.status_code, refused["Retry-After"]) == (429, "3600")
        assert b"Too many wrong codes" in refused.content
    assert Alarm.objects.get().title.startswith("Too many wrong codes for Olga Ray (olga)")
    assert len(events("ALARM_RAISED")) == 1


def test_a_new_password_starts_a_new_count(secret: str, clock: Clock) -> None:
    guess(21)
    fresh = "a fresh long password"
    save_user(User.objects.get(), password_hash=make_password(fresh), by=SYSTEM)
    browser, _ = enter(code_at(secret, clock.now), number=99, password=fresh)
    assert browser.get(SECOND_FACTOR).status_code == 200


def test_right_codes_are_not_counted(secret: str, clock: Clock) -> None:
    for number in range(22):
        enter(code_at(secret, clock.now), number=number)
        clock.next_code()
    assert not Alarm.objects.exists()
