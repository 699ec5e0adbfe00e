"""Limits the codes that may be tried: from one address in a minute, for one user in an hour."""

from datetime import UTC, datetime

from allauth.core.internal import ratelimit
from allauth.core.internal.ratelimit import RateLimitUsage
from django.http import HttpRequest

from killswitch.accounts.models import User
from killswitch.alarms.models import AlarmKind
from killswitch.alarms.services import raise_alarm
from killswitch.audit.recorder import recording

APP = "allauth.account"


class TooManyAttempts(Exception):
    """A limit is reached: that of the user (`of_user`), otherwise that of the address."""

    def __init__(self, *, of_user: bool) -> None:
        self.of_user = of_user


def consume_attempt(request: HttpRequest, user: User) -> list[RateLimitUsage]:
    """Count an attempt and return it, to be rolled back if the code is right.

    Raises `TooManyAttempts`. Passwords and codes share the limit of an address. The limit of a
    user starts over with a new password.
    """
    by_address = ratelimit.consume(request, app=APP, action="login_failed")
    if not by_address:
        raise TooManyAttempts(of_user=False)
    auth_hash = user.get_session_auth_hash()
    by_user = ratelimit.consume(request, app=APP, action="second_factor", key=auth_hash)
    if not by_user:
        with recording():
            raise_alarm(
                kind=AlarmKind.PEOPLE,
                subject=f"{user.pk} codes {datetime.now(UTC):%Y-%m-%d %H}",  # once an hour
                title=f"Too many wrong codes for {user.full_text}: their password may have leaked.",
                detail=(
                    "No codes are accepted for up to an hour. Setting a new password lifts this at"
                    " once."
                ),
            )
        raise TooManyAttempts(of_user=True)
    return [by_address, by_user]
