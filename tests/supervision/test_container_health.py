"""The health checks of docker-compose.yml, as a container runs them, against the real processes."""

import resource
import subprocess
from pathlib import Path

import pytest
from django.conf import settings

from tests.conftest import wait_for
from tests.faults.outages import stopped
from tests.image.compose import services
from tests.supervision.system_process import System

COMPOSE = Path(settings.BASE_DIR) / "docker-compose.yml"
VARIABLES = dict.fromkeys(
    ("ALLOWED_HOSTS", "EMS_BASE_URL", "POSTGRES_PASSWORD", "REDIS_PASSWORD"), "any"
)
PROCESSES = ("web", "worker", "watchdog", "observer")


def failing(system: System) -> list[str]:
    """Return the processes whose health check fails."""
    compose = services(COMPOSE, variables=VARIABLES)
    failed = []
    for name in PROCESSES:
        own = [
            part.replace("/var/lib/killswitch", str(system.home)).replace(
                "/8000", f"/{system.port}"
            )
            for part in compose[name].healthcheck
        ]
        if subprocess.run(own, check=False, capture_output=True, timeout=10).returncode:
            failed.append(name)
    return failed


@pytest.mark.timeout(180)
def test_a_process_that_hangs_is_unhealthy_and_a_check_costs_next_to_nothing(
    tmp_path: Path,
) -> None:
    with System(tmp_path) as system:
        assert failing(system) == [*PROCESSES]
        system.wait_until_it_serves()
        wait_for(lambda: failing(system) == [], seconds=30)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert failing(system) == []
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        print(f"four checks took {used_s * 1000:.0f} ms of processor time")
        with stopped(system, *PROCESSES):
            wait_for(lambda: failing(system) == [*PROCESSES], seconds=30)
        wait_for(lambda: failing(system) == [], seconds=30)
