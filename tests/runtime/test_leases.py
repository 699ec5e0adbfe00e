"""A lease has a holder of its own, and a row that does not change is noticed by its reader."""

import os
from concurrent.futures import ThreadPoolExecutor

from hypothesis import given, settings
from hypothesis import strategies as st

from killswitch.runtime.leases import StillnessTracker, new_lease_token


def test_no_two_claims_have_the_same_token() -> None:
    with ThreadPoolExecutor(8) as pool:
        tokens = list(pool.map(lambda _: new_lease_token(), range(2_000)))
    assert len(set(tokens)) == 2_000


def test_a_token_names_its_process_and_fits_into_every_column() -> None:
    token = new_lease_token()
    assert f":{os.getpid()}:" in token
    assert len(token) <= 100


def test_a_value_that_stays_the_same_grows_old() -> None:
    tracker = StillnessTracker[str]()
    assert tracker.observe({"row": ("holder", 7)}, now=100.0) == {"row": 0.0}
    assert tracker.observe({"row": ("holder", 7)}, now=102.5) == {"row": 2.5}
    assert tracker.observe({"row": ("holder", 7)}, now=105.0) == {"row": 5.0}


def test_a_value_that_changes_starts_again_also_when_it_returns_to_an_earlier_one() -> None:
    tracker = StillnessTracker[str]()
    tracker.observe({"row": 1}, now=0.0)
    assert tracker.observe({"row": 2}, now=5.0) == {"row": 0.0}
    assert tracker.observe({"row": 1}, now=6.0) == {"row": 0.0}


def test_each_key_has_its_own_age() -> None:
    tracker = StillnessTracker[int]()
    tracker.observe({1: "a"}, now=0.0)
    assert tracker.observe({1: "a", 2: "a"}, now=3.0) == {1: 3.0, 2: 0.0}


def test_a_key_that_was_away_is_new() -> None:
    tracker = StillnessTracker[int]()
    tracker.observe({1: "a"}, now=0.0)
    assert tracker.observe({}, now=1.0) == {}
    assert tracker.observe({1: "a"}, now=9.0) == {1: 0.0}


def test_none_is_a_value_like_any_other() -> None:
    tracker = StillnessTracker[int]()
    assert tracker.observe({1: None}, now=4.0) == {1: 0.0}
    assert tracker.observe({1: None}, now=6.0) == {1: 2.0}


@settings(deadline=None)
@given(st.lists(st.dictionaries(st.integers(0, 2), st.integers(0, 1))))
def test_the_age_is_the_number_of_equal_observations_before(history: list[dict[int, int]]) -> None:
    tracker = StillnessTracker[int]()
    for now, values in enumerate(history):
        ages = tracker.observe(values, now=float(now))
        for key, value in values.items():
            earlier = [row.get(key) == value for row in reversed(history[:now])]
            assert ages[key] == (earlier.index(False) if False in earlier else now)
