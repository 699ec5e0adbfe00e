"""The log keeps secrets to itself, and one event is one line."""

import logging
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from django.core.exceptions import BadRequest, PermissionDenied, SuspiciousOperation
from hypothesis import given
from hypothesis import strategies as st

from killswitch import structured_logs

LINE = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z (info|warning|error) ")


@pytest.fixture
def log(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], settings: Any
) -> Iterator[Callable[[], str]]:
    """What has been written so far."""
    settings.EMS_API_KEY = "key-that-opens-everything"
    settings.ALERT_URLS = ("json://token-of-the-pager@127.0.0.1/",)
    monkeypatch.setattr(structured_logs, "_secrets", ())
    before = logging.getLogger().handlers[:], logging.getLogger().level
    structured_logs.configure({"level": "info"})
    written: list[str] = []

    def read() -> str:
        written.append(capsys.readouterr().err)
        return "".join(written)

    yield read
    logging.getLogger().handlers[:] = before[0]
    logging.getLogger().setLevel(before[1])


def test_a_line_has_the_time_in_utc_with_microseconds_and_ids_as_fields(
    log: Callable[[], str],
) -> None:
    structlog.get_logger("killswitch.cancels").info("claimed", request_id="r-1", note="two words")
    said = log()
    assert LINE.match(said)
    assert said.endswith('killswitch.cancels: claimed request_id=r-1 note="two words"\n')


def test_other_libraries_write_the_same_lines(log: Callable[[], str]) -> None:
    logging.getLogger("django.request").warning("Not Found: %s", "/x")
    assert LINE.match(log())
    assert "django.request: Not Found: /x" in log()


def test_what_is_below_the_level_is_not_written(log: Callable[[], str]) -> None:
    structlog.get_logger("killswitch.cancels").debug("detail")
    assert log() == ""


@pytest.mark.parametrize(
    "secret",
    ["key-that-opens-everything", "only-for-tests", "json://token-of-the-pager@127.0.0.1/"],
)
def test_a_secret_is_masked_wherever_it_turns_up(log: Callable[[], str], secret: str) -> None:
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


def test_a_long_run_of_letters_is_masked_in_no_time() -> None:
    begun = time.process_time()
    structured_logs.masked("a" * 40_000)
    assert time.process_time() - begun < 1  # a thousand times what it takes


def test_a_long_value_is_cut_and_says_so(log: Callable[[], str]) -> None:
    logging.getLogger("django.request").warning("Not Found: /%s", "\n" * 400_000)
    structlog.get_logger("killswitch").warning("odd", host="b" * 400_000)
    said = log()
    assert len(said) < 10_000
    assert "Not Found: /" in said
    assert said.count("signs left out]") == 2


def test_a_secret_is_masked_also_where_a_long_value_is_cut(log: Callable[[], str]) -> None:
    secret = "key-that-opens-everything"
    structlog.get_logger("killswitch").warning("odd", value=secret * 400)
    structlog.get_logger("killswitch").warning("odd", value="x" * 990 + secret + "x" * 2000)
    assert secret[:8] not in log()


def test_a_long_traceback_is_cut_and_keeps_its_beginning(log: Callable[[], str]) -> None:
    try:
        int("9" * 4_000 + "x" * 100_000)
    except ValueError:
        logging.getLogger("django.request").exception("failed")
    said = log()
    assert "Traceback (most recent call last)" in said
    assert len(said) < 30_000


@pytest.mark.parametrize("refusal", [PermissionDenied, SuspiciousOperation, BadRequest])
def test_a_refused_request_leaves_a_line_without_a_traceback(
    log: Callable[[], str], refusal: type[Exception]
) -> None:
    logging.getLogger("django.request").warning("Forbidden: %s", "/x", exc_info=refusal("no"))
    assert log().endswith("django.request: Forbidden: /x\n")


@given(value=st.text())
def test_no_text_from_outside_can_look_like_a_second_event(value: str) -> None:
    event = {"at": "2026", "level": "info", "logger": "x", "event": value, "field": value}
    assert len(structured_logs.render(None, "", event).splitlines()) == 1
