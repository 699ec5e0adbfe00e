"""The log contains no secrets, and one event is one line."""

import json
import logging
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from django.core.exceptions import BadRequest, PermissionDenied, SuspiciousOperation
from django.db import IntegrityError, OperationalError
from django.test import RequestFactory
from hypothesis import given
from hypothesis import strategies as st

from killswitch import structured_logs
from tests.clock import Clock

LINE = re.compile(
    r"^at=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z level=(info|warning|error) logger=\S+ event="
)
PEM = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA\n-----END PRIVATE KEY-----"


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Iterator[Callable[[str], None]]:
    """Set up the log in one of its formats, with some secrets in the settings."""
    settings.EMS_API_KEY = "key-that-opens-everything"
    settings.ALERT_URLS = ("json://token-of-the-pager@127.0.0.1/",)
    settings.AUDIT_SIGNING_KEY = PEM
    settings.REDIS_URL = "redis://:pass%2Fof-the-queue@127.0.0.1:1/0"
    monkeypatch.setattr(structured_logs, "_secrets", ())
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield lambda log_format: structured_logs.configure({"level": "info", "format": log_format})
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def log(configure: Callable[[str], None], capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """Return a function that returns the log so far, as text."""
    configure("text")
    pieces: list[str] = []

    def read() -> str:
        pieces.append(capsys.readouterr().err)
        return "".join(pieces)

    return read


def test_a_line_has_the_time_in_utc_with_microseconds_and_ids_as_fields(
    log: Callable[[], str],
) -> None:
    structlog.get_logger("killswitch.cancels").info("claimed", request_id="r-1", note="two words")
    line = log()
    assert LINE.match(line)
    assert line.endswith(
        'logger=killswitch.cancels event=claimed request_id=r-1 note="two words"\n'
    )


def test_a_line_of_json_has_the_same_fields(
    configure: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    configure("json")
    try:
        int("key-that-opens-everything")
    except ValueError:
        structlog.get_logger("killswitch.cancels").exception("failed", attempt=2, note="a\nb")
    (line,) = capsys.readouterr().err.splitlines()
    event = json.loads(line)
    assert event.pop("at").endswith("Z")
    assert event.pop("exception").endswith("'***'")
    assert event == {
        "level": "error",
        "logger": "killswitch.cancels",
        "event": "failed",
        "attempt": 2,
        "note": "a␊b",
    }


def test_other_libraries_write_the_same_lines(log: Callable[[], str]) -> None:
    logging.getLogger("django.request").warning("Not Found: %s", "/x")
    assert LINE.match(log())
    assert 'logger=django.request event="Not Found: /x"' in log()


def test_events_below_the_level_are_not_written(log: Callable[[], str]) -> None:
    structlog.get_logger("killswitch.cancels").debug("detail")
    assert log() == ""


@pytest.mark.parametrize(
    "secret",
    [
        *("key-that-opens-everything", "only-for-tests", "json://token-of-the-pager@127.0.0.1/"),
        *(PEM.splitlines()[1], "pass/of-the-queue", "pass%2Fof-the-queue"),
    ],
)
def test_a_secret_is_masked_wherever_it_occurs(log: Callable[[], str], secret: str) -> None:
    logger = structlog.get_logger("killswitch")
    logger.info(f"text {secret}", field=secret, nested={"deep": [secret]})
    try:
        int(f"in an error: {secret}")
    except ValueError:
        logger.exception("failed")
    assert secret not in log()
    assert "in an error: ***" in log()
    assert "Traceback" in log()


def test_a_password_in_any_url_is_masked(log: Callable[[], str]) -> None:
    logging.getLogger("x").warning("cannot reach postgresql://me:hunter22@db:5432/log")
    assert "postgresql://me:***@db:5432/log" in log()


def test_masking_a_long_word_takes_linear_time() -> None:
    began_at = time.process_time()
    structured_logs.masked("a" * 40_000)
    assert time.process_time() - began_at < 1  # it takes a thousandth of that


def test_a_long_value_is_cut_and_marked(log: Callable[[], str]) -> None:
    logging.getLogger("django.request").warning("Not Found: /%s", "\n" * 400_000)
    structlog.get_logger("killswitch").warning("odd", host="b" * 400_000)
    lines = log()
    assert len(lines) < 10_000
    assert "Not Found: /" in lines
    assert lines.count("characters left out]") == 2


def test_a_secret_is_masked_even_where_a_long_value_is_cut(log: Callable[[], str]) -> None:
    secret = "key-that-opens-everything"
    structlog.get_logger("killswitch").warning("odd", value=secret * 400)
    structlog.get_logger("killswitch").warning("odd", value="x" * 990 + secret + "x" * 2000)
    assert secret[:8] not in log()


def test_a_long_traceback_is_cut_and_keeps_its_beginning(log: Callable[[], str]) -> None:
    try:
        int("9" * 4_000 + "x" * 100_000)
    except ValueError:
        logging.getLogger("django.request").exception("failed")
    lines = log()
    assert "Traceback (most recent call last)" in lines
    assert len(lines) < 30_000


@pytest.mark.parametrize("refusal", [PermissionDenied, SuspiciousOperation, BadRequest])
def test_a_refused_request_leaves_a_line_without_a_traceback(
    log: Callable[[], str], refusal: type[Exception]
) -> None:
    logging.getLogger("django.request").warning("Forbidden: %s", "/x", exc_info=refusal("no"))
    assert log().endswith('logger=django.request event="Forbidden: /x"\n')


@given(value=st.text())
def test_foreign_text_cannot_look_like_a_second_event(value: str) -> None:
    event = {"at": "2026", "level": "info", "logger": "x", "event": value, "field": value}
    line = structured_logs.render_text(None, "", structured_logs.make_safe(None, "", event))
    assert len(line.splitlines()) == 1


class TestADatabaseThatIsGone:
    """Each open page polls once a second, and each poll fails."""

    GONE = OperationalError("server closed the connection\nThis probably means that …")

    def failed(self, method: str, path: str, error: Exception = GONE) -> None:
        """Log a failed request as Django does."""
        request = RequestFactory().generic(method, path)
        logging.getLogger("django.request").error(
            "Service Unavailable: %s", path, extra={"request": request}, exc_info=error
        )

    def test_its_traceback_is_one_line_with_the_cause(self, log: Callable[[], str]) -> None:
        self.failed("GET", "/poll/")
        assert log().count("\n") == 1
        assert 'event="Service Unavailable: /poll/ (server closed the connection)"' in log()

    def test_what_repeats_it_is_counted(self) -> None:
        clock = Clock()
        lines: list[str] = []
        handler = logging.Handler()
        handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
        handler.addFilter(structured_logs.OutageFilter(clock=clock))
        logger = logging.getLogger("django.request")
        logger.addHandler(handler)
        try:
            for _ in range(21):
                self.failed("GET", "/poll/")
            clock.now += structured_logs.OUTAGE_INTERVAL_S
            self.failed("GET", "/")
            self.failed("POST", "/cancel-all/")
        finally:
            logger.removeHandler(handler)
        assert lines == [
            "Service Unavailable: /poll/ (server closed the connection)",
            "Service Unavailable: / (server closed the connection); 20 more requests failed since"
            " the last line",
            "Service Unavailable: /cancel-all/ (server closed the connection)",
        ]

    @pytest.mark.parametrize("error", [ValueError("a defect"), IntegrityError("a wrong statement")])
    def test_a_defect_keeps_its_traceback(self, log: Callable[[], str], error: Exception) -> None:
        for _ in range(2):
            self.failed("GET", "/poll/", error)
        assert log().count(f"{type(error).__name__}: ") == 2
