"""Limits the codes that may be tried: from one address in a minute, for one user in an hour."""

from datetime import UTC, datetime

from allauth.core.internal import ratelimit
from allauth.core.internal.ratelimit import RateLimitUsage
from django.http import HttpRequest

from killswitch.accounts.models import User
from killswitch.alarms.models import Kind as AlarmKind
from killswitch.alarms.services import raise_alarm
from killswitch.audit.recorder import recording

APP = "allauth.account"


class TooManyAttempts(Exception):
    """A limit is reached: that of the user (`of_person`), otherwise that of the address."""

    def __init__(self, *, of_person: bool) -> None:
        self.of_person = of_person


def consume_attempt(request: HttpRequest, person: User) -> list[RateLimitUsage]:
    """Count an attempt and return it, to be rolled back if the code is right.

    Raises `TooManyAttempts`. Passwords and codes share the limit of an address. The limit of a
    user starts over with a new password.
    """
    by_address = ratelimit.consume(request, app=APP, action="login_failed")
    if not by_address:
        raise TooManyAttempts(of_person=False)
    auth_hash = person.get_session_auth_hash()
    by_person = ratelimit.consume(request, app=APP, action="second_factor", key=auth_hash)
    if not by_person:
        with recording():
            raise_alarm(
                kind=AlarmKind.PEOPLE,
                subject=f"{person.pk} codes {datetime.now(UTC):%Y-%m-%d %H}",  # once an hour
                title=f"Too many wrong codes for {person.full_text}: their password may be stolen.",
                detail=(
                    "No codes are accepted for up to an hour. Setting a new password lifts this at"
                    " once."
                ),
            )
        raise TooManyAttempts(of_person=True)
    return [by_address, by_person]
