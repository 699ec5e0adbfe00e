"""A task that found nothing to do looks again only after a change, and then at once."""

import pytest
from django.db import OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext

from killswitch.runtime import changes
from killswitch.runtime.changes import ChangeGate, NewestRevision
from killswitch.runtime.revisions import Revision, next_revision
from tests.clock import Clock

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True)]


class Work:
    """Work that counts how often it is done."""

    def __init__(self, *, is_idle: bool = True) -> None:
        self.times = 0
        self.is_idle = is_idle

    def __call__(self) -> bool:
        self.times += 1
        return self.is_idle


def new_gate(
    clock: Clock, newest: NewestRevision | None = None, *, max_age_s: float = changes.SHARED_FOR_S
) -> ChangeGate:
    return ChangeGate(
        interval_s=0.5,
        max_idle_s=30.0,
        max_age_s=max_age_s,
        newest=newest or NewestRevision(clock=clock),
        clock=clock,
    )


def change() -> None:
    with transaction.atomic():
        next_revision()


def look(gate: ChangeGate, clock: Clock, work: Work, *, times: int = 1) -> None:
    for _ in range(times):
        clock.now += changes.LOOK_INTERVAL_S
        gate.run(work)


def test_idle_work_is_not_repeated_until_something_changes(clock: Clock) -> None:
    gate, work = new_gate(clock), Work()
    look(gate, clock, work, times=20)
    assert work.times == 1
    change()
    look(gate, clock, work, times=2)
    assert work.times == 2


def test_a_change_is_seen_within_half_a_second_whenever_it_comes(clock: Clock) -> None:
    for looks_before in range(1, 8):
        gate, work = new_gate(clock), Work()
        look(gate, clock, work, times=looks_before)
        change()
        look(gate, clock, work, times=2)
        assert work.times == 2


def test_work_that_is_not_idle_is_repeated_at_its_interval(clock: Clock) -> None:
    gate, work = new_gate(clock), Work(is_idle=False)
    look(gate, clock, work, times=20)
    assert work.times == 10


def test_what_was_written_past_the_revision_is_found_later(clock: Clock) -> None:
    gate, work = new_gate(clock), Work()
    look(gate, clock, work, times=4 * 30 + 2)
    assert work.times == 2


def test_a_change_during_the_work_is_not_missed(clock: Clock) -> None:
    gate, times = new_gate(clock, max_age_s=0.0), 0

    def work() -> bool:
        nonlocal times
        times += 1
        if times == 1:
            change()  # after the rows were read
        return True

    for _ in range(4):
        clock.now += changes.LOOK_INTERVAL_S
        gate.run(work)
    assert times == 2


def test_a_failure_is_followed_by_the_work_again(clock: Clock) -> None:
    gate, work = new_gate(clock), Work()
    look(gate, clock, work)

    def failing() -> bool:
        raise OperationalError("gone")

    change()
    clock.now += 1
    with pytest.raises(OperationalError):
        gate.run(failing)
    look(gate, clock, work, times=2)
    assert work.times == 2


def test_a_revision_that_cannot_be_read_leaves_the_work_due(clock: Clock) -> None:
    gate, work = new_gate(clock), Work()
    look(gate, clock, work)
    change()
    Revision.objects.all().delete()
    clock.now += 1
    with pytest.raises(Revision.DoesNotExist):
        gate.run(work)
    Revision.objects.create(id=1, value=1_000_000)
    look(gate, clock, work)
    assert work.times == 2


def test_the_tasks_of_a_process_share_one_query(clock: Clock) -> None:
    newest = NewestRevision(clock=clock)
    gates = [new_gate(clock, newest) for _ in range(5)]
    for gate in gates:
        gate.run(Work())
    with CaptureQueriesContext(connection) as captured:
        for _ in range(20):
            clock.now += changes.LOOK_INTERVAL_S
            for gate in gates:
                gate.run(Work())
    assert len(captured) == 10  # one each half second
