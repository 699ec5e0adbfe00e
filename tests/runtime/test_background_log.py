"""A log that nobody reads holds up nothing, and says what it lacks."""

import threading
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from killswitch.runtime.background_log import MAX_WAITING, BackgroundLog


class PipeThatNobodyReads:
    """A logger that waits until it is read."""

    def __init__(self) -> None:
        self.is_read = threading.Event()
        self.lines: list[dict[str, Any]] = []

    def info(self, _event: str, **values: Any) -> None:
        self.is_read.wait(30)
        self.lines.append(values)


@pytest.fixture
def pipe() -> Any:
    return PipeThatNobodyReads()


def test_lines_that_find_no_place_are_dropped_and_counted(pipe: Any) -> None:
    log = BackgroundLog()
    for number in range(MAX_WAITING + 5):  # this thread never waits
        log.info(pipe, "event", number=number)
    pipe.is_read.set()
    log.flush()
    log.info(pipe, "event", number=-1)
    log.flush()
    *written, last = pipe.lines
    assert [line["number"] for line in written] == list(range(len(written)))
    assert last == {"number": -1, "dropped": MAX_WAITING + 5 - len(written)}


def test_what_is_bound_to_the_thread_is_in_its_line(pipe: Any) -> None:
    pipe.is_read.set()
    log = BackgroundLog()
    with structlog.contextvars.bound_contextvars(http_request="a"):
        log.info(pipe, "event", number=1)
    log.info(pipe, "event", number=2)
    log.flush()
    assert pipe.lines == [{"http_request": "a", "number": 1}, {"number": 2}]


def test_a_line_that_cannot_be_written_does_not_end_the_log(pipe: Any) -> None:
    class Failing:
        def info(self, _event: str, **_: Any) -> None:
            raise OSError

    failing: Any = Failing()
    pipe.is_read.set()
    log = BackgroundLog()
    with capture_logs() as lines:
        log.info(failing, "event")
        log.flush()
    log.info(pipe, "event", number=1)
    log.flush()
    assert pipe.lines == [{"number": 1}]
    assert [line["event"] for line in lines] == ["line_not_written"]
