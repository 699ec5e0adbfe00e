"""What is done again and again goes on after every failure, and says so once."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest
from django.db import OperationalError, connection

from killswitch.readiness.rounds import rounds, start_rounds
from tests.conftest import wait_for

Outcomes = Iterator[Exception | None]


def scripted(outcomes: Outcomes, *, stop: threading.Event) -> Callable[[], None]:
    """Meets what the script says, and then ends the rounds."""

    def do() -> None:
        outcome = next(outcomes, StopIteration())
        if isinstance(outcome, StopIteration):
            stop.set()
        elif outcome is not None:
            raise outcome

    return do


def test_a_long_outage_is_logged_when_it_begins_and_when_it_ends(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stop = threading.Event()
    outage = [OperationalError("gone")] * 5
    do = scripted(iter([None, *outage, None, None]), stop=stop)
    rounds(name="look", do=do, every=0.001, stop=stop)
    assert caplog.text.count("database_gone") == 1
    assert caplog.text.count("round_works_again") == 1


def test_a_mistake_of_ours_does_not_end_the_rounds(caplog: pytest.LogCaptureFixture) -> None:
    stop = threading.Event()
    rounds(name="look", do=scripted(iter([KeyError("x")]), stop=stop), every=0.001, stop=stop)
    assert stop.is_set()
    assert "round_failed" in caplog.text


def test_a_pause_ends_at_once_when_it_is_told_to_stop() -> None:
    stop = threading.Event()
    done = threading.Event()
    thread = start_rounds(name="look", do=done.set, every=60, stop=stop)
    assert done.wait(5)
    stop.set()
    thread.join(5)
    assert not thread.is_alive(), "it would have slept for a minute"


def test_the_time_that_it_takes_is_part_of_the_interval() -> None:
    stop, began = threading.Event(), list[float]()

    def do() -> None:
        began.append(time.monotonic())
        if len(began) == 3:
            stop.set()
        stop.wait(0.5)

    rounds(name="look", do=do, every=0.6, stop=stop)
    assert began[2] - began[0] < 2.0, "without it: 2.2 s"


@pytest.mark.both_databases
@pytest.mark.django_db(transaction=True)
def test_no_database_connection_is_kept_during_the_pause() -> None:
    stop, kept = threading.Event(), list[bool]()
    in_the_pause = threading.Event()

    class Pause(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            kept.append(connection.connection is not None)
            in_the_pause.set()
            stop.wait(5)
            return self.is_set()

    pause = Pause()

    def do() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")

    start_rounds(name="look", do=do, every=60, stop=pause)
    wait_for(in_the_pause.is_set, seconds=5)
    pause.set()
    stop.set()
    assert kept[0] is False
