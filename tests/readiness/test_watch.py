"""Somebody is told when a cancel would not work, and when it would again."""

import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.db.models.functions import Now

from killswitch.alarms.models import Alarm, Delivery
from killswitch.audit.models import AuditEvent, EventKind
from killswitch.audit.verification.verify import verify
from killswitch.readiness import trial_press, watch
from killswitch.readiness.judgement import Check, Level, Readiness, judge
from killswitch.readiness.watch import (
    DEGRADED_AFTER_S,
    INTERVAL_S,
    NOT_READY_AFTER_S,
    OVER_AFTER_S,
    START_S,
    ReadinessWatch,
    _HostLock,
)
from killswitch.runtime.heartbeats import HOST, Heartbeat, Process
from tests.alarms.conftest import Sink, _plugins_are_loaded, sink  # noqa: F401
from tests.audit.assertions import assert_good
from tests.clock import Clock
from tests.conftest import wait_for
from tests.failures import full_log

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True)]

NOT_READY, DEGRADED = "NOT READY: a cancel would probably fail now.", "DEGRADED: a cancel can be"
LONG_S = 10 * DEGRADED_AFTER_S


def readiness(word: Level) -> Readiness:
    """Return a readiness with this word, as the checks would give it."""
    check = Check(
        name="ems",
        label="EMS",
        ok=word is Level.READY,
        needed=word is Level.NOT_READY,
        detail="Connection refused",
    )
    return judge((check,))


class Host:
    """The watch of one process, and a clock that passes while it looks."""

    def __init__(self, *, start_s: float = 0.0) -> None:
        self.clock = Clock()
        self.word = Level.READY
        self.watch = ReadinessWatch(
            evaluate=lambda: readiness(self.word), start_s=start_s, clock=self.clock
        )

    def see(self, word: Level, *, for_s: float) -> None:
        """Look every few seconds, for the first time now and for the last time then."""
        self.word = word
        until = self.clock.now + for_s
        self.watch.step()
        while self.clock.now < until:
            self.clock.now = min(until, self.clock.now + INTERVAL_S)
            self.watch.step()


@pytest.fixture
def host() -> Host:
    host = Host()
    host.see(Level.READY, for_s=0)
    return host


def titles() -> list[str]:
    return list(Alarm.objects.order_by("id").values_list("title", flat=True))


def open_titles() -> list[str]:
    return list(Alarm.objects.unacknowledged().order_by("id").values_list("title", flat=True))


def test_not_ready_for_ten_seconds_is_an_alarm_with_the_reason(host: Host) -> None:
    host.see(Level.NOT_READY, for_s=NOT_READY_AFTER_S - 0.1)
    assert titles() == []
    host.see(Level.NOT_READY, for_s=0.1)
    alarm = Alarm.objects.get()
    assert (alarm.kind, alarm.title) == ("READINESS", NOT_READY)
    assert alarm.detail == "Not ready. EMS: Connection refused."
    assert AuditEvent.objects.filter(kind=EventKind.ALARM_RAISED).count() == 1


def test_degraded_for_a_minute_is_an_alarm(host: Host) -> None:
    host.see(Level.DEGRADED, for_s=DEGRADED_AFTER_S - 0.1)
    assert titles() == []
    host.see(Level.DEGRADED, for_s=0.1)
    assert Alarm.objects.get().title.startswith(DEGRADED)


def test_it_is_one_alarm_however_long_it_lasts(host: Host) -> None:
    host.see(Level.NOT_READY, for_s=LONG_S)
    assert titles() == [NOT_READY]


def test_what_comes_and_goes_is_one_alarm(host: Host) -> None:
    host.see(Level.NOT_READY, for_s=NOT_READY_AFTER_S)
    for _ in range(5):
        host.see(Level.READY, for_s=OVER_AFTER_S - 2 * INTERVAL_S + 0.1)
        host.see(Level.NOT_READY, for_s=INTERVAL_S)
    assert open_titles() == titles() == [NOT_READY]


def test_the_end_resolves_the_alarm_and_is_reported(
    host: Host,
    sink: Sink,  # noqa: F811
    settings: Any,
) -> None:
    settings.ALERT_URLS = (sink.url(),)
    host.see(Level.NOT_READY, for_s=60)
    host.see(Level.READY, for_s=OVER_AFTER_S)
    alarm = Alarm.objects.get()
    assert alarm.resolution == "READY again. It was NOT READY for 60 s."
    assert sink.titles() == ["[real] READY again."]
    assert "It was NOT READY for 60 s" in sink.received[0][1]["message"]
    assert sink.received[0][1]["type"] == "info"
    host.see(Level.READY, for_s=LONG_S)
    assert len(sink.received) == 1


def test_the_next_time_is_another_alarm(host: Host, settings: Any, tmp_path: Path) -> None:
    settings.KILLSWITCH_HOME = tmp_path  # without the checkpoints of other tests
    for _ in range(2):
        host.see(Level.NOT_READY, for_s=NOT_READY_AFTER_S)
        host.see(Level.READY, for_s=OVER_AFTER_S)
    assert titles() == [NOT_READY, NOT_READY]
    assert_good(verify())


def test_what_is_degraded_after_it_was_not_ready_has_an_alarm_of_its_own(host: Host) -> None:
    host.see(Level.NOT_READY, for_s=DEGRADED_AFTER_S)
    assert open_titles() == [NOT_READY]
    host.see(Level.DEGRADED, for_s=OVER_AFTER_S + INTERVAL_S)
    assert [title[:8] for title in titles()] == ["NOT READ", "DEGRADED"]
    assert Alarm.objects.earliest("id").resolution.startswith("A cancel can be recorded again.")
    host.see(Level.READY, for_s=OVER_AFTER_S)
    assert open_titles() == []


def test_another_host_raises_no_second_alarm(host: Host) -> None:
    host.see(Level.NOT_READY, for_s=NOT_READY_AFTER_S)
    other = Host()
    other.see(Level.NOT_READY, for_s=LONG_S)
    assert titles() == [NOT_READY]


def test_hosts_that_look_at_the_same_moment_raise_one_alarm() -> None:
    hosts = [Host() for _ in range(4)]
    for host in hosts:
        host.see(Level.NOT_READY, for_s=NOT_READY_AFTER_S - 0.1)
        host.clock.now += 1
    barrier = threading.Barrier(len(hosts))

    def step(host: Host) -> None:
        connection.ensure_connection()
        barrier.wait(10)
        host.watch.step()
        connection.close()

    threads = [threading.Thread(target=step, args=[host]) for host in hosts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert titles() == [NOT_READY]


def test_an_alarm_that_was_acknowledged_hides_no_later_one(host: Host) -> None:
    host.see(Level.NOT_READY, for_s=NOT_READY_AFTER_S)
    Alarm.objects.update(acknowledged_at="2026-11-30T00:00:00Z", acknowledged_by="Olga")
    host.see(Level.READY, for_s=OVER_AFTER_S)
    host.see(Level.NOT_READY, for_s=NOT_READY_AFTER_S)
    assert open_titles() == [NOT_READY]


class TestAnotherHost:
    """With an alarm of its own, under a name that is not ours."""

    @pytest.fixture
    def other(self, host: Host) -> Alarm:
        host.see(Level.NOT_READY, for_s=NOT_READY_AFTER_S)
        host.see(Level.READY, for_s=OVER_AFTER_S)
        alarm = Alarm.objects.get()
        alarm.subject = alarm.subject.replace(HOST, "other-host", 1)
        alarm.resolved_at, alarm.resolution = None, ""
        alarm.save()
        return alarm

    def beat(self, age: timedelta) -> None:
        at = Now() - age
        row = Heartbeat(kind=Process.WORKER, host="other-host", beats=1, beat_at=at)
        Heartbeat.objects.bulk_create([row])

    @pytest.mark.usefixtures("other")
    def test_its_alarm_is_enough_while_it_runs(self, host: Host) -> None:
        self.beat(timedelta(seconds=2))
        host.see(Level.NOT_READY, for_s=NOT_READY_AFTER_S)
        assert titles() == [NOT_READY]

    @pytest.mark.usefixtures("other")
    def test_its_alarm_hides_no_other_when_it_does_not_run(self, host: Host) -> None:
        self.beat(timedelta(minutes=2))
        host.see(Level.NOT_READY, for_s=NOT_READY_AFTER_S)
        assert titles() == [NOT_READY, NOT_READY]

    @pytest.mark.parametrize(("minutes", "is_over"), [(59, False), (61, True)])
    def test_its_alarm_is_over_when_it_is_gone_and_others_are_ready(
        self, host: Host, other: Alarm, *, minutes: int, is_over: bool
    ) -> None:
        self.beat(timedelta(minutes=minutes))
        host.see(Level.READY, for_s=60)
        other.refresh_from_db()
        assert (other.resolved_at is not None) is is_over


def test_without_a_watchdog_the_channels_are_notified_directly(
    sink: Sink,  # noqa: F811
    settings: Any,
) -> None:
    settings.ALERT_URLS = (sink.url(),)
    check = Check(name="watchdog", label="Watchdog", ok=False, detail="no heartbeat yet")
    clock = Clock()
    watch = ReadinessWatch(evaluate=lambda: judge((check,)), start_s=0, clock=clock)
    for _ in range(3):
        watch.step()
        clock.now += DEGRADED_AFTER_S
    assert len(sink.received) == 1
    assert "because no watchdog is running" in sink.received[0][1]["message"]
    assert Alarm.objects.count() == 1


class TestWithoutTheDatabase:
    @pytest.mark.only_on("postgresql")
    def test_one_that_never_answers_is_not_ready(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pids: list[int] = []

        def wait_for_ever() -> None:
            with connection.cursor() as cursor:
                pids.append(connection.connection.info.backend_pid)
                cursor.execute("SELECT pg_sleep(60)")

        monkeypatch.setattr(watch, "MAX_ANSWER_S", 0.5)
        monkeypatch.setattr(trial_press.PROCESS, "get", wait_for_ever)
        assert watch.evaluate_in_time().word is Level.NOT_READY
        connection.close()
        with connection.cursor() as cursor:  # the server does not notice that its client is gone
            cursor.execute("SELECT pg_terminate_backend(%s, 5000)", pids)

    def test_what_lasts_longer_than_the_outage_is_an_alarm(
        self,
        host: Host,
        sink: Sink,  # noqa: F811
        settings: Any,
    ) -> None:
        settings.ALERT_URLS = (sink.url(),)
        with full_log():
            host.see(Level.NOT_READY, for_s=NOT_READY_AFTER_S)
        host.see(Level.NOT_READY, for_s=INTERVAL_S)
        assert open_titles() == [NOT_READY]
        host.see(Level.READY, for_s=OVER_AFTER_S)
        assert (open_titles(), len(sink.received)) == ([], 2)

    def test_the_channels_are_notified_directly_and_the_log_learns_it_later(
        self,
        host: Host,
        sink: Sink,  # noqa: F811
        settings: Any,
    ) -> None:
        settings.ALERT_URLS = (sink.url(),)
        with full_log():
            host.see(Level.NOT_READY, for_s=120)
            assert sink.titles() == [f"[real] {NOT_READY}"]
            assert "EMS: Connection refused" in sink.received[0][1]["message"]
        host.see(Level.READY, for_s=OVER_AFTER_S)
        (title,) = titles()
        assert title.startswith("READY again. It was NOT READY for 2 min, from ")
        assert Delivery.objects.count() == 1

    def test_an_end_that_cannot_be_recorded_is_recorded_when_it_can(self, host: Host) -> None:
        with full_log():
            host.see(Level.NOT_READY, for_s=NOT_READY_AFTER_S)
            with pytest.raises(Exception, match="the disk is full"):
                host.see(Level.READY, for_s=OVER_AFTER_S)
        host.see(Level.READY, for_s=0)
        assert titles()[0].startswith("READY again.")


class TestAtTheStart:
    def test_what_is_missing_then_is_no_alarm(self) -> None:
        host = Host(start_s=START_S)
        host.see(Level.NOT_READY, for_s=START_S - 0.1)
        host.see(Level.READY, for_s=LONG_S)
        assert titles() == []

    def test_what_is_missing_for_longer_is_one(self) -> None:
        host = Host(start_s=START_S)
        host.see(Level.NOT_READY, for_s=START_S + NOT_READY_AFTER_S)
        assert titles() == [NOT_READY]

    def test_once_it_was_ready_every_second_counts(self) -> None:
        host = Host(start_s=LONG_S)
        host.see(Level.READY, for_s=0)
        host.see(Level.NOT_READY, for_s=NOT_READY_AFTER_S)
        assert titles() == [NOT_READY]

    def test_the_alarm_of_a_process_that_ended_is_resolved(self, host: Host) -> None:
        host.see(Level.NOT_READY, for_s=NOT_READY_AFTER_S)
        Host(start_s=START_S).see(Level.READY, for_s=0)
        assert open_titles() == []

    def test_a_successor_takes_its_alarm_over(self, host: Host) -> None:
        host.see(Level.NOT_READY, for_s=NOT_READY_AFTER_S)
        successor = Host(start_s=START_S)
        successor.see(Level.NOT_READY, for_s=LONG_S)
        assert titles() == [NOT_READY]
        successor.see(Level.READY, for_s=OVER_AFTER_S)
        assert open_titles() == []


class TestOneProcessOfAHostWatches:
    HOLDER = (
        "import sys, fcntl; f = open(sys.argv[1], 'ab'); fcntl.flock(f, fcntl.LOCK_EX);"
        " print('held', flush=True); sys.stdin.read()"
    )

    def test_the_next_one_takes_over_when_it_dies(self, tmp_path: Path) -> None:
        path = tmp_path / "lock"
        command = [sys.executable, "-c", self.HOLDER, str(path)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
            assert holder.stdout
            assert holder.stdout.readline() == b"held\n"
            own = _HostLock(path)
            assert not own.is_held()
            holder.kill()
        wait_for(own.is_held, seconds=10)
        assert own._file
        own._file.close()

    def test_a_directory_that_cannot_be_written_to_keeps_none_from_watching(
        self, tmp_path: Path
    ) -> None:
        assert _HostLock(tmp_path / "missing" / "lock").is_held()
