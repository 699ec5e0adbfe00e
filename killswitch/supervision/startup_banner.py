"""Prints at the start where the console is and who can sign in."""

import http.client
import sys
import threading
from collections.abc import Callable, Sequence

from django.conf import settings
from django.contrib.auth import get_user_model

from killswitch.accounts.demo import DemoUser
from killswitch.supervision import checks
from killswitch.supervision.notation_checks import why_never_matched

POLL_INTERVAL_S = 0.1
LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104


def text(users: Sequence[DemoUser]) -> str:
    """Return the address, how to sign in, and the warnings; `users` are those of the demo."""
    host = _local_host()
    url = f"http://{f'[{host}]' if ':' in host else host}:{settings.PORT}/"
    lines = [f"The kill switch is running at {url} ({settings.KILLSWITCH_ENVIRONMENT})."]
    if settings.KILLSWITCH_ENVIRONMENT == "real":
        lines.append(
            "It uses a real EMS. Set KILLSWITCH_ENVIRONMENT to uat or production so that every page"
            " names the environment."
        )
    if settings.DEMO:
        lines.append(
            f"It uses a simulated EMS, {settings.EMS_BASE_URL}; no real orders are affected. Sign"
            " in as:"
        )
        for user in users:
            role = str(user.role).replace("_", " ").lower()
            lines.append(f"  {user.username:<8} {user.password}   ({role})")
        if not users:
            lines.append("  a demo user (the passwords are in demo-people.txt in KILLSWITCH_HOME)")
    elif not get_user_model().objects.filter(is_active=True, is_demo=False).exists():
        lines += [
            "No user can sign in yet. Add one with",
            f"  {sys.executable} {settings.BASE_DIR / 'manage.py'} add_user NAME"
            " --role risk_officer",
            "in the same environment as this command; the other roles are compliance and",
            "administrator.",
        ]
    return "\n".join([*lines, *checks.warnings()])


def once_web_is_up(callback: Callable[[], None], *, stop: threading.Event) -> None:
    """Call `callback` as soon as the web process responds, from a thread."""

    def wait() -> None:
        while not stop.wait(POLL_INTERVAL_S):
            if _web_responds():
                callback()
                return

    threading.Thread(target=wait, name="banner", daemon=True).start()


def _web_responds() -> bool:
    hosts = [host for host in settings.ALLOWED_HOSTS if not why_never_matched(host)]
    names = [host.lstrip(".") for host in hosts if host != "*"]
    headers = {"Host": names[0] if names else "localhost"}
    connection = http.client.HTTPConnection(_local_host(), settings.PORT, timeout=2)
    try:
        connection.request("GET", "/healthz", headers=headers)
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return False
    else:
        return status == http.HTTPStatus.OK or not hosts  # then every request is refused
    finally:
        connection.close()


def _local_host() -> str:
    return LOOPBACK.get(settings.HOST, settings.HOST)
