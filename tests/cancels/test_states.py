import itertools

import pytest

from killswitch.cancels.states import (
    FINAL,
    IN_FLIGHT,
    LABELS,
    MEANINGS,
    ForbiddenTransition,
    Status,
    check_transition,
    diagram,
)

ALLOWED = {
    ("REQUESTED", "SENDING"),
    ("SENDING", "VERIFYING"),
    ("SENDING", "REJECTED"),
    ("SENDING", "NOT_DELIVERED"),
    ("VERIFYING", "CONFIRMED"),
    ("VERIFYING", "RESIDUAL"),
    ("VERIFYING", "UNVERIFIED"),
    ("VERIFYING", "UNKNOWN"),
}


@pytest.mark.parametrize(("before", "after"), list(itertools.product(Status, Status)))
def test_only_the_known_transitions_are_allowed(before: Status, after: Status) -> None:
    if (before, after) in ALLOWED:
        check_transition(before=before, after=after)
    else:
        with pytest.raises(ForbiddenTransition):
            check_transition(before=before, after=after)


def test_a_status_is_either_in_flight_or_final() -> None:
    assert {"REQUESTED", "SENDING", "VERIFYING"} == IN_FLIGHT
    assert frozenset(Status) - IN_FLIGHT == FINAL


def test_every_status_has_words() -> None:
    assert set(LABELS) == set(MEANINGS) == set(Status)


def test_the_diagram_shows_every_transition_once() -> None:
    lines = diagram().splitlines()
    for before, after in ALLOWED:
        assert lines.count(f"    {before} --> {after}") == 1
