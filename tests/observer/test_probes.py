"""What an answer to the list of open orders tells of the place that a cancel would go to."""

from datetime import UTC, datetime

import pytest

from killswitch.ems.open_orders import TimedOpenOrders
from killswitch.observer.open_orders import record_probe
from killswitch.readiness import health_checks

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db]


def answered(status: int | None) -> TimedOpenOrders:
    now = datetime.now(UTC)
    return TimedOpenOrders(
        readable=status == 200,
        error="" if status == 200 else f"HTTP {status}",
        http_status=status,
        started_at=now,
        finished_at=now,
        duration_ms=1.0,
    )


@pytest.mark.parametrize(
    ("status", "ok", "words"),
    [
        (200, True, "reachable, API key accepted"),
        (302, False, "EMS_BASE_URL does not seem to be the address of an EMS: HTTP 302"),
        (404, False, "EMS_BASE_URL does not seem to be the address of an EMS: HTTP 404"),
        (405, False, "EMS_BASE_URL does not seem to be the address of an EMS: HTTP 405"),
        (401, False, "the API key was rejected: HTTP 401"),
        (503, True, "reachable; its list of open orders cannot be read"),
        (490, True, "reachable; its list of open orders cannot be read"),
        (None, False, "HTTP None"),
    ],
)
def test_what_a_cancel_would_meet_as_well_is_told(status: int | None, ok: bool, words: str) -> None:
    record_probe(answered(status))
    (found,) = [check for check in health_checks.evaluate().checks if check.name == "ems"]
    assert (found.ok, found.detail) == (ok, words)
