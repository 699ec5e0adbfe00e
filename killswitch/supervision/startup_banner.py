"""Tells the person who started the system where it is, and who may sign in."""

import http.client
import sys
import threading
from collections.abc import Callable, Sequence

from django.conf import settings
from django.contrib.auth import get_user_model

from killswitch.accounts.demo import DemoPerson
from killswitch.supervision.configuration_warnings import warnings

POLL_INTERVAL_S = 0.1  # seconds
ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104


def text(people: Sequence[DemoPerson]) -> str:
    """The address, and what is needed to sign in; `people` are the demo's."""
    manage = settings.BASE_DIR / "manage.py"
    lines = [f"The kill switch is at {address()} ({settings.KILLSWITCH_ENVIRONMENT})."]
    if settings.KILLSWITCH_ENVIRONMENT == "real":
        lines += [
            "Its EMS is a real one: say which with KILLSWITCH_ENVIRONMENT, uat or production."
        ]
    if settings.DEMO:
        lines += [f"It cancels at a simulated EMS, {settings.EMS_BASE_URL}. Sign in as:"]
        lines += [_sign_in(person) for person in people] or [
            "  (their passwords are in demo-people.txt in KILLSWITCH_HOME)"
        ]
    elif not get_user_model().objects.filter(is_active=True, is_demo=False).exists():
        lines += [
            "Nobody may sign in yet. Add a person with",
            f"  {sys.executable} {manage} add_user NAME --role risk_officer",
            "in the same environment as this command; the other roles are compliance and",
            "administrator.",
        ]
    lines += warnings()
    return "\n".join(lines)


def address() -> str:
    """What to type into a browser on this machine."""
    host = ANYWHERE.get(settings.HOST, settings.HOST)
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.PORT}/"


def once_web_is_up(say: Callable[[], None], *, stop: threading.Event) -> None:
    """Call `say` as soon as the web answers, from a thread."""

    def wait() -> None:
        while not stop.wait(POLL_INTERVAL_S):
            if _answers():
                say()
                return

    threading.Thread(target=wait, name="announcement", daemon=True).start()


def _answers() -> bool:
    host = ANYWHERE.get(settings.HOST, settings.HOST)
    visit = http.client.HTTPConnection(host, settings.PORT, timeout=2)
    try:
        visit.request("GET", "/healthz", headers={"Host": _allowed_host()})
        return visit.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        visit.close()


def _allowed_host() -> str:
    names = [name.lstrip(".") for name in settings.ALLOWED_HOSTS if name != "*"]
    return names[0] if names else "localhost"


def _sign_in(person: DemoPerson) -> str:
    role = str(person.role).replace("_", " ").lower()
    return f"  {person.username:<8} {person.password}   ({role})"
