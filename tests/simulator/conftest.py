"""A simulator for each test, on a free port, with fast cancels."""

from collections.abc import Iterator

import pytest

from killswitch.simulator.server import Simulator


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(cancel_seconds=(0.02, 0.08)) as running:
        yield running
