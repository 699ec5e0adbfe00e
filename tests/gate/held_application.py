"""A WSGI application whose answers are held until they are released, behind the real gate.

The web server runs it in place of Django, at the addresses of the product. A request is held unless
it has the query `free`; an export streams for ever. A lane that never refuses is for the test:

* `/break-glass/?release` releases all requests that are held, and those that come
* `/break-glass/?counts` returns what was started, streamed and closed
* `/break-glass/?reset` begins a new test, when everything of the last one has ended
* `/break-glass/?fail` fails, and `/audit/export.csv?fail` after its first chunk
"""

import json
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from killswitch import inherited_environment

inherited_environment.use_own()

import django  # noqa: E402

django.setup()

from killswitch.gate.application import LIMITS, Gate  # noqa: E402

CHUNK = b"x" * 65_536
MAX_WAIT_S, SLOW_AFTER_S = 2.0, 0.02
RELEASED = threading.Event()
COUNTS: Counter[str] = Counter()


class Export:
    """An endless answer, or one that breaks off."""

    streaming = True

    def __init__(self, *, fails: bool = False) -> None:
        self.fails = fails

    def __iter__(self) -> Iterator[bytes]:
        while True:
            COUNTS["chunks"] += 1
            yield CHUNK
            if self.fails:
                raise RuntimeError("a failure of the export")

    def close(self) -> None:
        COUNTS["closed"] += 1


def held(environ: dict[str, Any], start_response: Any) -> Any:
    """Answer as the module's docstring says."""
    path, query = environ["PATH_INFO"], environ["QUERY_STRING"]
    start_response("200 OK", [("Content-Type", "text/plain")])
    match query:
        case "fail" if path.startswith("/audit/export"):
            COUNTS[f"{environ['REQUEST_METHOD']} {path}"] += 1
            return Export(fails=True)
        case "fail":
            raise RuntimeError("a failure of the application")
        case "counts":
            return [json.dumps(COUNTS).encode()]
        case "release":
            RELEASED.set()
        case "reset":
            RELEASED.clear()
            COUNTS.clear()
        case _:
            COUNTS[f"{environ['REQUEST_METHOD']} {path}"] += 1
            if path.startswith("/audit/export"):
                return Export()
            if query != "free":
                RELEASED.wait(60)
            COUNTS["served"] += 1
    return [environ["wsgi.input"].read() or b"served"]


application = Gate(
    held,
    body_timeout_s=60,
    limits={
        name: replace(
            limits,
            max_wait_s=limits.max_wait_s and MAX_WAIT_S,
            slow_after_s=limits.slow_after_s and SLOW_AFTER_S,
        )
        for name, limits in LIMITS.items()
    },
)
