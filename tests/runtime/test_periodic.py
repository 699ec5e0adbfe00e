"""A periodic task goes on after every failure, and logs it once."""

import threading
from collections.abc import Callable, Iterable

import pytest
from django.db import InterfaceError, OperationalError, connection

from killswitch.runtime.periodic import PeriodicTask, late_by_s
from tests.clock import Clock
from tests.conftest import wait_for


class Pauses(threading.Event):
    """A stop event whose pauses take no time but move a clock."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self.lengths: list[float] = []
        self.had_connection: list[bool] = []

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        if not self.is_set():
            self.lengths.append(timeout)
            self.had_connection.append(connection.connection is not None)
            self._clock.now += timeout
        return self.is_set()


def scripted(outcomes: Iterable[Exception | None], *, stop: threading.Event) -> Callable[[], None]:
    """Return work that meets these outcomes in turn and then sets the event."""
    script = iter(outcomes)

    def work() -> None:
        try:
            outcome = next(script)
        except StopIteration:
            stop.set()
            return
        if outcome:
            raise outcome

    return work


def run(*outcomes: Exception | None) -> Pauses:
    """Run a task with these outcomes to its end, without any real pause."""
    clock = Clock()
    stop = Pauses(clock)
    work = scripted(outcomes, stop=stop)
    PeriodicTask(name="look", work=work, interval_s=2.0, clock=clock).run_until(stop)
    return stop


def test_a_long_outage_is_logged_when_it_begins_and_when_it_ends(
    caplog: pytest.LogCaptureFixture,
) -> None:
    run(None, *[OperationalError("gone")] * 5, None, None)
    assert caplog.text.count("database_gone") == 1
    assert caplog.text.count("task_works_again") == 1


def test_another_kind_of_failure_is_logged_as_well(caplog: pytest.LogCaptureFixture) -> None:
    run(OperationalError("gone"), InterfaceError("closed"), KeyError("x"), KeyError("x"), None)
    assert caplog.text.count("database_gone") == 2
    assert caplog.text.count("task_failed") == 1
    assert caplog.text.count("task_works_again") == 1


def test_a_mistake_of_ours_does_not_end_the_loop_and_leaves_its_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert run(KeyError("x"), KeyError("x")).is_set()
    assert caplog.text.count("Traceback") == 1
    assert "KeyError" in caplog.text


def test_the_time_that_the_work_takes_is_part_of_the_interval() -> None:
    clock = Clock()
    stop = Pauses(clock)
    work_s = iter([0.5, 5.0, 0.0])

    def work() -> None:
        try:
            clock.now += next(work_s)
        except StopIteration:
            stop.set()

    PeriodicTask(name="look", work=work, interval_s=2.0, first_pause_s=7.0, clock=clock).run_until(
        stop
    )
    assert stop.lengths == [7.0, 1.5, 0.0, 2.0]


def test_a_task_that_is_stopped_before_its_first_run_does_not_run() -> None:
    stop = threading.Event()
    stop.set()
    PeriodicTask(name="look", work=pytest.fail, interval_s=1, first_pause_s=60).run_until(stop)


def test_a_pause_of_a_minute_ends_at_once_when_the_task_is_stopped() -> None:
    stop, worked = threading.Event(), threading.Event()
    thread = PeriodicTask(name="look", work=worked.set, interval_s=60).start_thread(stop)
    assert thread.daemon
    wait_for(worked.is_set, seconds=5)
    stop.set()
    thread.join(5)
    assert not thread.is_alive()


@pytest.mark.both_databases
@pytest.mark.django_db(transaction=True)
class TestTheDatabaseConnection:
    """Each in a thread of its own: the test's own connection belongs to the test."""

    def connected_in_pauses(self, *, keep_connection: bool, error: Exception | None) -> list[bool]:
        clock = Clock()
        stop = Pauses(clock)
        outcomes = scripted([None, error], stop=stop)

        def work() -> None:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
            outcomes()

        task = PeriodicTask(
            name="look", work=work, interval_s=1, keep_connection=keep_connection, clock=clock
        )

        def run_and_close() -> None:
            task.run_until(stop)
            connection.close()

        thread = threading.Thread(target=run_and_close)
        thread.start()
        thread.join(10)
        return stop.had_connection[1:]  # after the pause before the first run

    def test_is_closed_before_each_pause(self) -> None:
        assert self.connected_in_pauses(keep_connection=False, error=None) == [False, False]

    def test_is_kept_when_the_task_asks_for_it(self) -> None:
        assert self.connected_in_pauses(keep_connection=True, error=None) == [True, True]

    def test_is_never_kept_after_a_failure(self) -> None:
        pauses = self.connected_in_pauses(keep_connection=True, error=OperationalError("gone"))
        assert pauses == [True, False]

    def test_work_that_fails_on_a_kept_connection_is_repeated_at_once_on_a_new_one(self) -> None:
        clock = Clock()
        stop = Pauses(clock)
        gone = OperationalError("gone")
        outcomes = scripted([None, gone, gone, None], stop=stop)

        def work() -> None:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
            outcomes()

        task = PeriodicTask(name="look", work=work, interval_s=1, keep_connection=True, clock=clock)
        thread = threading.Thread(target=task.run_until, args=[stop])
        thread.start()
        thread.join(10)
        # After the first failure, which may be that of the connection, and not after the second.
        assert stop.lengths[1:5] == [1.0, 0.0, 1.0, 1.0]


@pytest.mark.parametrize("interval_s", [0.25, 2.0, 3.0])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.74, 0.76, 0.999])
def test_aligned_work_starts_at_multiples_of_its_interval(interval_s: float, share: float) -> None:
    started_at = 1_800_000_000 + share * interval_s
    next_at = started_at + interval_s - late_by_s(started_at, interval_s)
    assert next_at / interval_s == pytest.approx(round(next_at / interval_s), abs=1e-6)
    assert 0.25 * interval_s <= next_at - started_at <= 1.25 * interval_s + 1e-6


def test_aligned_work_that_took_too_long_is_repeated_at_once() -> None:
    clock = Clock()
    stop = Pauses(clock)
    work_s = iter([60.0, 60.0])

    def work() -> None:
        try:
            clock.now += next(work_s)
        except StopIteration:
            stop.set()

    PeriodicTask(name="look", work=work, interval_s=2.0, is_aligned=True, clock=clock).run_until(
        stop
    )
    assert stop.lengths[1:3] == [0.0, 0.0]
