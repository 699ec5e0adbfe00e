"""Hearts beat by the database's clock, one for each kind of process on each host."""

import threading
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.db.models import F

from killswitch.runtime import heartbeats
from killswitch.runtime.heartbeats import Heartbeat, Process, age_here, beat
from tests.failures import failing
from tests.stack import Stack

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True)]


def later(seconds: float) -> None:
    """Let time pass for all that has beaten so far."""
    Heartbeat.objects.update(beat_at=F("beat_at") - timedelta(seconds=seconds))


def test_a_heart_that_beats_is_fresh_and_counted() -> None:
    for _ in range(3):
        beat(Process.WATCHDOG)
    heart = Heartbeat.objects.get()
    assert (heart.kind, heart.host, heart.beats) == ("WATCHDOG", heartbeats.HOST, 3)
    assert age_here(Process.WATCHDOG).within(1)


def test_a_heart_that_stands_still_is_not_fresh() -> None:
    beat(Process.WORKER)
    later(11)
    assert not age_here(Process.WORKER).within(10)


def test_the_first_beats_of_many_at_once_make_one_heart() -> None:
    together = threading.Barrier(5)

    def act() -> None:
        try:
            together.wait(10)
            beat(Process.WORKER)
        finally:
            connection.close()

    threads = [threading.Thread(target=act) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert Heartbeat.objects.count() == 1


def test_hosts_that_are_long_gone_are_forgotten() -> None:
    beat(Process.WORKER)
    Heartbeat.objects.update(host="an-old-container")
    later(2 * 86_400)
    beat(Process.WORKER)
    assert Heartbeat.objects.get().host == heartbeats.HOST


@pytest.mark.parametrize("kind", ["watchdog", "worker", "observer"])
def test_a_process_that_beats_is_healthy(kind: str) -> None:
    beat(Process[kind.upper()])
    said = StringIO()
    call_command("healthy", kind, stdout=said)
    assert "last heartbeat 0 s ago" in said.getvalue()


@pytest.mark.parametrize("which", ["never", "elsewhere", "long ago"])
def test_a_process_that_does_not_beat_here_and_now_is_not_healthy(which: str) -> None:
    if which != "never":
        beat(Process.WORKER)
    if which == "elsewhere":
        Heartbeat.objects.update(host="elsewhere")
    later(11 if which == "long ago" else 0)
    with pytest.raises(CommandError) as refused:
        call_command("healthy", "worker")
    assert refused.value.returncode == 1


def test_a_heart_in_the_future_is_not_healthy() -> None:
    beat(Process.WORKER)
    later(-3600)
    with pytest.raises(CommandError, match="check the clocks"):
        call_command("healthy", "worker")


def test_a_database_that_is_gone_is_not_healthy() -> None:
    with (
        failing("killswitch.runtime.heartbeats.age_here", OperationalError("secret://host")),
        pytest.raises(CommandError, match="the database does not respond"),
    ):
        call_command("healthy", "worker")


def test_the_command_ends_with_a_sentence_where_no_database_is(stack: Stack) -> None:
    stack.set(DATABASE_URL="postgresql://me:hunter2@127.0.0.1:9/x")
    assert stack.manage("healthy", "watchdog").wait(30) == 1
    said = stack.log.read_text()
    assert "the database does not respond" in said
    assert "Traceback" not in said
    assert "hunter2" not in said
