"""Passwords are checked one at a time, and no sign-in waits long for its turn."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from django.contrib.auth.hashers import make_password
from django.test import Client

from killswitch.accounts import backends
from killswitch.accounts.models import Role, User
from tests import factories
from tests.accounts.people import events, sign_in, signed_in

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases, pytest.mark.usefixtures("limits")]


@pytest.fixture
def short_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "MAX_HASHING_WAIT_S", 0.01)


@pytest.fixture
def busy(short_wait: None) -> Iterator[ExitStack]:
    """Another password is being checked, until this is closed."""
    with ExitStack() as stack:
        stack.enter_context(backends.exclusive_hashing())
        yield stack


def test_a_sign_in_while_another_password_is_checked_is_refused_for_a_moment(
    busy: ExitStack,
) -> None:
    factories.person(Role.RISK_OFFICER)
    refused = sign_in(Client(), "olga")
    assert (refused.status_code, refused["Retry-After"]) == (429, "5")
    assert b"Try again in a moment" in getattr(refused, "content", b"")
    assert not events("SIGN_IN_FAILED")
    busy.close()
    assert sign_in(Client(), "olga").status_code == 302


def test_an_unknown_name_waits_for_its_turn_too(busy: ExitStack) -> None:
    assert sign_in(Client(), "unknown").status_code == 429


def test_a_sign_in_that_was_not_checked_does_not_count_as_failed(busy: ExitStack) -> None:
    factories.person(Role.RISK_OFFICER)
    assert {sign_in(Client(), "olga").status_code for _ in range(20)} == {429}
    busy.close()
    assert sign_in(Client(), "olga").status_code == 302


def test_confirming_the_password_waits_for_its_turn_too(short_wait: None) -> None:
    browser = signed_in(Role.RISK_OFFICER)
    with backends.exclusive_hashing():
        answer = browser.post("/accounts/password/again/", {"password": factories.PASSWORD})
    assert answer.status_code == 429


def test_only_a_few_wait_at_once() -> None:
    with ExitStack() as waiting:
        for _ in range(backends.MAX_WAITING_THREADS):
            waiting.enter_context(backends._waiting_threads)
        with pytest.raises(backends.HashingBusy), backends.exclusive_hashing():
            pass
    with backends.exclusive_hashing():
        pass


def test_no_two_passwords_are_checked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    factories.person(Role.RISK_OFFICER)
    was_locked = []

    def check(_user: User, password: str) -> bool:
        was_locked.append(backends._hashing.locked())
        return bool(make_password(password))

    monkeypatch.setattr(User, "check_password", check)
    backends.UserBackend().authenticate(None, username="olga", password=factories.PASSWORD)
    assert was_locked == [True]
