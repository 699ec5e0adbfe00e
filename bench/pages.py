"""Measure the processor time of a console page and of polls, and the queries of an idle poll.

    python -m bench.pages --database sqlite

Calls the WSGI application in this process, with a signed-in officer and 60 exchanges, so that
neither the server nor a busy machine counts.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

from bench.figures import Figure
from bench.running_system import DATABASES, OFFICER, PASSWORD, start_postgresql

EXCHANGES = 60
CANCELS = 50
REPEATS = 300
WARM_UP = 20


def main() -> None:
    """Create a database, measure, and print one line of JSON for each figure."""
    parser = argparse.ArgumentParser(description="Measure the processor time of pages.")
    parser.add_argument("--database", choices=DATABASES, default="sqlite")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as home:
        os.environ |= {
            "KILLSWITCH_HOME": home,
            "DJANGO_SETTINGS_MODULE": "killswitch.settings",
            "EMS_BASE_URL": "http://127.0.0.1:9",
            "SECRET_KEY": "only-for-measuring",
            "KILLSWITCH_EXCHANGES": " ".join(f"VENUE{number:02}" for number in range(EXCHANGES)),
        }
        if options.database == "postgresql":
            os.environ["DATABASE_URL"] = start_postgresql(Path(home))
        for figure in _figures():
            print(figure.to_line())


def _figures() -> list[Figure]:
    import django

    django.setup()
    from django.conf import settings
    from django.core.wsgi import get_wsgi_application

    from killswitch.runtime.revisions import current
    from killswitch.supervision.prepare import create_sqlite_file, prepare

    create_sqlite_file()
    prepare()
    application = get_wsgi_application()
    environ = {
        "HTTP_HOST": settings.ALLOWED_HOSTS[0],
        "HTTP_COOKIE": f"{settings.SESSION_COOKIE_NAME}={_sign_in()}",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "REQUEST_METHOD": "GET",
        "wsgi.url_scheme": "http",
    }

    def page() -> None:
        _call(application, environ | {"PATH_INFO": "/"}, status="200 OK")

    def poll() -> None:
        query = f"known={known}&show=console"
        htmx = {"HTTP_HX_REQUEST": "true", "PATH_INFO": "/poll/", "QUERY_STRING": query}
        _call(application, environ | htmx, status="204 No Content")

    def poll_of_change(since: int) -> None:
        query = f"known={since}&show=console"
        htmx = {"HTTP_HX_REQUEST": "true", "PATH_INFO": "/poll/", "QUERY_STRING": query}
        _call(application, environ | htmx, status="200 OK")

    page()
    known = current()
    page_name, poll_name = f"page with {EXCHANGES} exchanges", f"poll after {CANCELS} changes"
    figures = [
        Figure(name=f"{page_name}: processor", value=_processor_ms(page), unit="ms", limit=8),
        Figure(name="idle poll: processor", value=_processor_ms(poll), unit="ms", limit=1),
        Figure(name="idle poll: queries", value=_queries(poll), unit="", limit=3),
    ]
    _cancel()
    times_ms: dict[str, list[float]] = {
        f"{page_name}, first of a revision: processor": [],
        f"{poll_name}, first page: processor": [],
        f"{poll_name}, next page with another revision: processor": [],
        f"{poll_name}, next page: processor": [],
    }
    for _ in range(WARM_UP + REPEATS // 10):
        _change()
        first_page_ms = _thread_ms(page)
        since = _change()
        works = (
            partial(poll_of_change, since),
            partial(poll_of_change, since - 1),
            partial(poll_of_change, since),
        )
        some_ms = [first_page_ms, *map(_thread_ms, works)]
        for values, value in zip(times_ms.values(), some_ms, strict=True):
            values.append(value)
    figures += [
        Figure(name=name, value=statistics.median(values[WARM_UP:]), unit="ms")
        for name, values in times_ms.items()
    ]
    return figures


def _cancel() -> None:
    """Cancel on fifty exchanges, all of which are confirmed."""
    from killswitch.accounts.models import User
    from killswitch.cancels.states import Status
    from killswitch.exchanges.models import Exchange
    from tests import factories

    officer = User.objects.get(username=OFFICER)
    batch = factories.press(officer, *Exchange.objects.all()[:CANCELS])
    for request in batch.requests.all():
        factories.bring(request, Status.CONFIRMED)


def _change() -> int:
    """Change the fifty requests, as when they end, and return the revision before."""
    from datetime import timedelta

    from django.db import transaction
    from django.db.models import F

    from killswitch.cancels.models import CancelRequest
    from killswitch.runtime.revisions import current, next_revision

    before = current()
    later = F("finished_at") + timedelta(milliseconds=1)
    with transaction.atomic():
        CancelRequest.objects.update(revision=next_revision(), finished_at=later)
    return before


def _sign_in() -> str:
    """Return the session key of a new risk officer."""
    from django.contrib.auth import login
    from django.contrib.sessions.backends.base import SessionBase
    from django.http import HttpRequest
    from django.utils.module_loading import import_string

    from killswitch.accounts.models import Role
    from killswitch.accounts.services import add_user
    from killswitch.audit.actors import SYSTEM

    officer = add_user(
        username=OFFICER, full_name="", role=Role.RISK_OFFICER, password=PASSWORD, by=SYSTEM
    )
    request = HttpRequest()
    request.META["REMOTE_ADDR"] = "127.0.0.1"
    from django.conf import settings

    request.session = import_string(f"{settings.SESSION_ENGINE}.SessionStore")()
    login(request, officer, backend=settings.AUTHENTICATION_BACKENDS[0])
    session: SessionBase = request.session
    session.save()
    return str(session.session_key)


def _call(application: Callable[..., Any], environ: dict[str, Any], *, status: str) -> bytes:
    statuses: list[str] = []

    def start_response(line: str, _headers: Any, _error: Any = None) -> None:
        statuses.append(line)

    answer = application(environ | {"wsgi.input": BytesIO()}, start_response)
    try:
        body = b"".join(answer)
    finally:
        answer.close()
    assert statuses == [status], (statuses, body[:500])
    return body


def _processor_ms(work: Callable[[], None]) -> float:
    times_ms = [_thread_ms(work) for _ in range(WARM_UP + REPEATS)]
    return statistics.median(times_ms[WARM_UP:])


def _thread_ms(work: Callable[[], None]) -> float:
    started_at = time.thread_time()
    work()
    return 1000 * (time.thread_time() - started_at)


def _queries(work: Callable[[], None]) -> int:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as queries:
        work()
    return len(queries)


if __name__ == "__main__":
    main()
