"""Repetitions are counted over all processes, and written at 1, 10, 100 and so on."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from killswitch.audit.event_throttle import count
from killswitch.audit.models import EventKind, ThrottledEvent

pytestmark = [pytest.mark.both_databases]


@pytest.mark.django_db
def test_the_first_the_tenth_and_the_hundredth_are_written() -> None:
    written = [number for _ in range(150) if (number := count(EventKind.DENIED, "1 /x"))]
    assert written == [1, 10, 100]


@pytest.mark.django_db
def test_each_kind_and_subject_counts_for_itself() -> None:
    assert count(EventKind.DENIED, "a") == 1
    assert count(EventKind.SIGN_IN_FAILED, "a") == 1
    assert count(EventKind.DENIED, "b") == 1
    assert count(EventKind.DENIED, "a") is None


@pytest.mark.django_db
@pytest.mark.parametrize("shift", [timedelta(hours=-1, seconds=-1), timedelta(hours=2)])
def test_after_an_hour_or_a_clock_that_went_back_the_count_starts_over(shift: timedelta) -> None:
    assert count(EventKind.DENIED, "a") == 1
    ThrottledEvent.objects.update(since=timezone.now() + shift, count=57)
    assert count(EventKind.DENIED, "a") == 1
    assert count(EventKind.DENIED, "a") is None


@pytest.mark.django_db
def test_a_clock_that_is_a_little_behind_goes_on_counting() -> None:
    assert count(EventKind.DENIED, "a") == 1
    ThrottledEvent.objects.update(since=timezone.now() + timedelta(seconds=2))
    assert count(EventKind.DENIED, "a") is None
    assert ThrottledEvent.objects.get().count == 2


@pytest.mark.django_db
def test_a_new_one_takes_the_place_of_some_that_are_over() -> None:
    old = timezone.now() - timedelta(hours=1, seconds=1)
    rows = [ThrottledEvent(kind="DENIED", subject=f"{number}", since=old) for number in range(150)]
    ThrottledEvent.objects.bulk_create(rows)
    count(EventKind.DENIED, "recent")
    assert ThrottledEvent.objects.count() == 150 + 1 - 100
    count(EventKind.DENIED, "recent")
    assert ThrottledEvent.objects.count() == 51
    count(EventKind.DENIED, "more recent")
    assert set(ThrottledEvent.objects.values_list("subject", flat=True)) == {
        "recent",
        "more recent",
    }


@pytest.mark.django_db
def test_a_subject_of_any_length_is_counted() -> None:
    assert count(EventKind.DENIED, "x" * 5000) == 1
    assert count(EventKind.DENIED, "x" * 5000) is None
    assert count(EventKind.DENIED, "x" * 5001) == 1


@pytest.mark.django_db(transaction=True)
def test_many_new_subjects_at_once_do_not_block_each_other() -> None:
    old = timezone.now() - timedelta(hours=2)
    rows = [ThrottledEvent(kind="DENIED", subject=f"{number}", since=old) for number in range(40)]
    ThrottledEvent.objects.bulk_create(rows)

    def once(number: int) -> int | None:
        try:
            return count(EventKind.DENIED, f"{number}")
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(once, range(60))) == [1] * 60
    assert ThrottledEvent.objects.filter(since__lt=old + timedelta(hours=1)).count() == 0


@pytest.mark.django_db(transaction=True)
def test_many_at_once_write_each_number_once() -> None:
    def once(_: int) -> int | None:
        try:
            return count(EventKind.DENIED, "crowd")
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(once, range(40)))
    assert sorted(number for number in numbers if number) == [1, 10]
    assert ThrottledEvent.objects.get().count == 40
