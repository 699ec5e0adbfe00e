"""Checking passwords takes one processor at most, and nobody waits long for it."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from django.contrib.auth.hashers import make_password
from django.test import Client

from killswitch.accounts import password_queue
from killswitch.accounts.backends import UserBackend
from killswitch.accounts.models import Role, User
from tests.accounts.people import PASSWORD, events, make, sign_in, signed_in

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.both_databases,
    pytest.mark.usefixtures("limits"),
]


@pytest.fixture
def busy(monkeypatch: pytest.MonkeyPatch) -> Iterator[ExitStack]:
    """Somebody else's password is being checked, until this is closed."""
    monkeypatch.setattr(password_queue, "MAX_WAIT_S", 0.01)
    with ExitStack() as other:
        other.enter_context(password_queue.exclusive_hashing())
        yield other


def test_of_two_people_who_sign_in_at_once_one_is_asked_to_try_again(busy: ExitStack) -> None:
    make(Role.RISK_OFFICER)
    refused = sign_in(Client(), "rita")
    assert (refused.status_code, refused["Retry-After"]) == (429, "5")
    assert b"Others are signing in" in getattr(refused, "content", b"")
    assert not events("SIGN_IN_FAILED")
    busy.close()
    assert sign_in(Client(), "rita").status_code == 302


def test_a_name_that_nobody_has_waits_for_its_turn_too(busy: ExitStack) -> None:
    assert sign_in(Client(), "nobody").status_code == 429


def test_who_was_asked_to_try_again_has_not_failed(busy: ExitStack) -> None:
    make(Role.RISK_OFFICER)
    assert {sign_in(Client(), "rita").status_code for _ in range(20)} == {429}
    busy.close()
    assert sign_in(Client(), "rita").status_code == 302


def test_the_password_once_more_waits_for_its_turn_too(monkeypatch: pytest.MonkeyPatch) -> None:
    browser = signed_in(Role.RISK_OFFICER)
    monkeypatch.setattr(password_queue, "MAX_WAIT_S", 0.01)
    with password_queue.exclusive_hashing():
        answer = browser.post("/accounts/password/again/", {"password": PASSWORD})
    assert answer.status_code == 429


def test_only_a_few_wait_at_once() -> None:
    with ExitStack() as line:
        for _ in range(password_queue.MAX_WAITING):
            line.enter_context(password_queue._place_in_line)
        with pytest.raises(password_queue.HashingBusy), password_queue.exclusive_hashing():
            pass
    with password_queue.exclusive_hashing():
        pass


def test_no_two_passwords_are_checked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    make(Role.RISK_OFFICER)
    held = []

    def check(_user: User, password: str) -> bool:
        held.append(password_queue._turn.locked())
        return bool(make_password(password))

    monkeypatch.setattr(User, "check_password", check)
    UserBackend().authenticate(None, username="rita", password=PASSWORD)
    assert held == [True]
