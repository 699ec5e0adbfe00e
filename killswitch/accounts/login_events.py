"""What the log keeps of a sign-in that did not succeed: never a password, never a flood."""

from django.http import HttpRequest

from killswitch.accounts.backends import UserBackend
from killswitch.accounts.client_info import client_info, neighbourhood
from killswitch.accounts.models import User
from killswitch.audit.chain import Actor, NewEvent
from killswitch.audit.event_throttle import record_counted
from killswitch.audit.models import Kind

NOBODY = Actor(name="anonymous")
TOO_MANY = "too many tries"
WRONG_CODE = "wrong code"
# Whatever was tried before: these are counted for themselves.
APART = {TOO_MANY: " limited", WRONG_CODE: " code"}


def record_failure(request: HttpRequest, *, username: str) -> None:
    """A wrong name or password. The name is kept only if somebody has it.

    What is typed into the field for the name is often the password.
    """
    person = _person(username)
    _record(request, why=_why(person), person=person)


def record_wrong_code(request: HttpRequest, *, person: User) -> None:
    """The password was right and the code was not: somebody mistyped it, or has the password."""
    _record(request, why=WRONG_CODE, person=person)


def record_limited(request: HttpRequest, *, username: str) -> None:
    """A try that was refused unread, because there had been too many from that address."""
    _record(request, why=TOO_MANY, person=_person(username))


def _record(request: HttpRequest, *, why: str, person: User | None) -> None:
    place = client_info(request)
    name = person.username if person else ""
    fact = NewEvent(
        kind=Kind.SIGN_IN_FAILED, actor=NOBODY, data={"username": name, "why": why, **place}
    )
    # Counted for each address and person, so that the first try at somebody's account shows even
    # after many at another's; bounded by the number of people.
    apart = APART.get(why, "")
    record_counted(fact, subject=f"{neighbourhood(place['address'])} {name}{apart}")


def _person(username: str) -> User | None:
    return User.objects.filter(username=User.normalize_username(username)).first()


def _why(person: User | None) -> str:
    if person is None:
        return "no such person"
    if not person.is_active:
        return "switched off"
    return "wrong password" if UserBackend().user_can_authenticate(person) else "demo person"
