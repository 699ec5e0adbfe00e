"""An authenticator app, written from RFC 6238 and not from the code under test."""

import base64
import hashlib
import hmac
import re
from types import SimpleNamespace
from typing import Any

import pytest
from django.test import Client

from tests.accounts.people import sign_in
from tests.factories import PASSWORD

SECOND_FACTOR = "/accounts/second-factor/"
SET_UP = f"{SECOND_FACTOR}set-up/"
CODE = f"{SECOND_FACTOR}code/"
RECOVERY = f"{SECOND_FACTOR}recovery-codes/"
CONFIRM_PASSWORD = "/accounts/password/again/"


class Clock:
    """The time by which codes are checked; it moves only when a test moves it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_800_000_000.0
        clock = SimpleNamespace(time=lambda: self.now)
        monkeypatch.setattr("allauth.mfa.totp.internal.auth.time", clock)

    def next_code(self) -> None:
        self.now += 30


def code_at(secret: str, now: float) -> str:
    """Return what an app with this secret shows."""
    key = base64.b32decode(secret)
    mac = hmac.new(key, (int(now) // 30).to_bytes(8, "big"), hashlib.sha1).digest()
    start = mac[-1] & 15
    number = int.from_bytes(mac[start : start + 4], "big") & 0x7FFF_FFFF
    return f"{number % 10**6:06}"


def secret_in(page: Any) -> str:
    """Return the secret on a page, as it would be typed into an app."""
    match = re.search(r'<code class="secret">([A-Z2-7 ]+)</code>', page.content.decode())
    assert match
    return match[1].replace(" ", "")


def recovery_codes_in(page: Any) -> list[str]:
    return re.findall(r"<code>(\d{8})</code>", page.content.decode())


def half_signed_in(username: str = "olga", password: str = PASSWORD, **extra: Any) -> Client:
    """Return a browser in which only the password was entered."""
    browser = Client(**extra)
    assert sign_in(browser, username, password)["Location"] == CODE
    return browser


def confirm_password(client: Client) -> None:
    """Enter the password again, as the pages of the second factor require."""
    assert (
        client.post(CONFIRM_PASSWORD, {"password": PASSWORD, "next": SECOND_FACTOR}).status_code
        == 302
    )


def set_up(client: Client, clock: Clock) -> str:
    """Set up a second factor as a person does, and return its secret."""
    confirm_password(client)
    secret = secret_in(client.get(SET_UP))
    assert client.post(SET_UP, {"code": code_at(secret, clock.now)}).status_code == 302
    clock.next_code()
    return secret
