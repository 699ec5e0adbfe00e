"""Records failed sign-ins: never a password, and never so many that they flood the log."""

from django.http import HttpRequest

from killswitch.accounts.backends import UserBackend
from killswitch.accounts.client_info import client_info, neighbourhood
from killswitch.accounts.models import User
from killswitch.audit.actors import Actor
from killswitch.audit.chain import NewEvent
from killswitch.audit.event_throttle import record_counted
from killswitch.audit.models import EventKind

ANONYMOUS = Actor(name="anonymous")
TOO_MANY = "too many tries"
WRONG_CODE = "wrong code"  # after the right password: a typing error, or a stolen password
# These two are counted apart from wrong passwords, so that the first of them is always recorded.
COUNTER_SUFFIX = {TOO_MANY: " limited", WRONG_CODE: " code"}


def record_failure(request: HttpRequest, *, username: str) -> None:
    """Record a wrong name or password.

    The name is recorded only if a user has it: a password is often typed there.
    """
    user = _find_user(username)
    # These reasons are stored, so they keep their words.
    if user is None:
        reason = "no such person"
    elif not user.is_active:
        reason = "switched off"
    elif UserBackend().user_can_authenticate(user):
        reason = "wrong password"
    else:
        reason = "demo person"
    record_failed_attempt(request, reason=reason, user=user)


def record_limited(request: HttpRequest, *, username: str) -> None:
    """Record an attempt that was refused unread because there had been too many."""
    record_failed_attempt(request, reason=TOO_MANY, user=_find_user(username))


def _find_user(username: str) -> User | None:
    return User.objects.filter(username=User.normalize_username(username)).first()


def record_failed_attempt(request: HttpRequest, *, reason: str, user: User | None) -> None:
    """Record why a sign-in, or a step of it, has failed; None for a name that no user has."""
    client = client_info(request)
    username = user.username if user else ""
    event = NewEvent(
        kind=EventKind.SIGN_IN_FAILED,
        actor=ANONYMOUS,
        data={"username": username, "why": reason, **client},
    )
    # Counted by address and user: the first attempt on an account is recorded even after many
    # attempts on others. The number of counters is bounded by the number of users.
    suffix = COUNTER_SUFFIX.get(reason, "")
    record_counted(event, subject=f"{neighbourhood(client['address'])} {username}{suffix}")
