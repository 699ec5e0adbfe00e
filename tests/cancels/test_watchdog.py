"""The watch is pure: it is given what one look found, and the time."""

from killswitch.cancels.states import Status
from killswitch.cancels.watchdog import RequestSnapshot, StallDetector


def sight(
    status: Status = Status.SENDING,
    lease_token: str = "p:1",
    lease_beats: int = 1,
    ended: int = 1,
    deaths: int = 0,
) -> RequestSnapshot:
    return RequestSnapshot(
        id=7,
        status=status,
        lease_token=lease_token,
        lease_beats=lease_beats,
        ended=ended,
        deaths=deaths,
    )


def test_a_new_request_is_left_to_the_workers_for_a_second() -> None:
    watch = StallDetector()
    new = sight(Status.REQUESTED, lease_token="")
    assert watch.look([new], now=100.0).unclaimed == []
    assert watch.look([new], now=100.9).unclaimed == []
    assert watch.look([new], now=101.0).unclaimed == [7]


def test_a_released_request_is_overdue_at_once() -> None:
    assert [o.id for o in StallDetector().look([sight(lease_token="")], now=5.0).overdue] == [7]


def test_a_counter_that_moves_is_never_overdue() -> None:
    watch = StallDetector()
    for second in range(60):
        assert watch.look([sight(lease_beats=second)], now=float(second)).overdue == []


def test_a_counter_that_stands_still_is_overdue_after_three_seconds() -> None:
    watch = StallDetector()
    assert watch.look([sight()], now=10.0).overdue == []
    assert watch.look([sight()], now=12.9).overdue == []
    overdue = watch.look([sight()], now=13.0).overdue
    assert [(o.id, o.lease_token, o.lease_beats, o.status) for o in overdue] == [
        (7, "p:1", 1, Status.SENDING)
    ]


def test_a_new_holder_gets_its_own_three_seconds() -> None:
    watch = StallDetector()
    watch.look([sight()], now=0.0)
    assert watch.look([sight(lease_token="q:2")], now=2.9).overdue == []
    assert watch.look([sight(lease_token="q:2")], now=5.8).overdue == []
    assert len(watch.look([sight(lease_token="q:2")], now=5.9).overdue) == 1


def test_five_seconds_without_progress_are_told_once_also_while_the_holder_lives() -> None:
    watch = StallDetector()
    found = []
    for quarter in range(80):
        if watch.look([sight(lease_beats=quarter)], now=quarter / 4).stalled:
            found.append(quarter / 4)
            if len(found) == 2:  # the first try to raise the alarm had failed
                watch.told(7)
    assert len(found) == 2
    assert found == [5.0, 5.25]


def test_a_takeover_is_no_progress() -> None:
    watch = StallDetector()
    watch.look([sight()], now=0.0)
    again = sight(lease_token="q:2", ended=2, deaths=1)
    assert watch.look([again], now=3.0).stalled == []
    assert watch.look([again], now=5.0).stalled == [7]


def test_what_was_written_is_a_sign_of_life() -> None:
    watch = StallDetector()
    watch.look([sight()], now=0.0)
    assert watch.look([sight(ended=2)], now=3.0).overdue == []


def test_progress_postpones_the_alarm() -> None:
    watch = StallDetector()
    for second in range(60):
        findings = watch.look([sight(lease_beats=second, ended=second // 4)], now=float(second))
        assert findings.stalled == []


def test_a_finished_request_is_forgotten() -> None:
    watch = StallDetector()
    watch.look([sight()], now=0.0)
    watch.look([], now=1.0)
    assert watch.look([sight()], now=9.0).overdue == []


def test_a_request_that_never_ends_is_an_alarm_also_while_it_makes_progress() -> None:
    watch = StallDetector(endless_after=90)
    endless = [
        second
        for second in range(100)
        if watch.look([sight(lease_beats=second, ended=second)], now=float(second)).endless
    ]
    assert endless[0] == 90
