"""How many codes may be tried: by one address in a minute, and at one person in an hour."""

from datetime import UTC, datetime

from allauth.core.internal import ratelimit
from allauth.core.internal.ratelimit import RateLimitUsage
from django.db import transaction
from django.http import HttpRequest

from killswitch.accounts.models import User
from killswitch.alarms.models import Alarm
from killswitch.alarms.models import Kind as AlarmKind
from killswitch.alarms.services import raise_alarm
from killswitch.audit.chain import append
from killswitch.runtime.revisions import next_revision

APP = "allauth.account"


class TooManyAttempts(Exception):
    """No try is left; `of_person` says for whom."""

    def __init__(self, *, of_person: bool) -> None:
        self.of_person = of_person


def consume_attempt(request: HttpRequest, person: User) -> list[RateLimitUsage]:
    """One try, to be given back when the code is right. Raises `TooMany`.

    One count by address for passwords and codes. A new password begins a new count by person.
    """
    of_address = ratelimit.consume(request, app=APP, action="login_failed")
    if not of_address:
        raise TooManyAttempts(of_person=False)
    standing = person.get_session_auth_hash()
    of_person = ratelimit.consume(request, app=APP, action="second_factor", key=standing)
    if not of_person:
        _raise_alarm(person)
        raise TooManyAttempts(of_person=True)
    return [of_address, of_person]


def _raise_alarm(person: User) -> None:
    """Once an hour: whoever gets as far as the code has the password."""
    subject = f"{person.pk} codes {datetime.now(UTC):%Y-%m-%d %H}"
    if Alarm.objects.filter(kind=AlarmKind.PEOPLE, subject=subject).exists():
        return
    with transaction.atomic():
        facts = raise_alarm(
            kind=AlarmKind.PEOPLE,
            subject=subject,
            title=f"Too many wrong codes for {person.full_text}: somebody has their password",
            detail="No more codes are taken for up to an hour. A new password ends it at once.",
            revision=next_revision(),
        )
        append(*facts)
