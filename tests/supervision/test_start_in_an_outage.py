"""A host that restarts in the middle of an outage serves break glass, and recovers by itself."""

import json
from pathlib import Path

import requests

from tests.conftest import wait_for
from tests.faults.outages import SystemOnPostgreSQL, stop_server
from tests.supervision.system_process import System, free_ports


class StartedInAnOutage(SystemOnPostgreSQL):
    """Prepared while PostgreSQL ran; its programs are started while neither it nor Redis runs."""

    def __enter__(self) -> "StartedInAnOutage":
        self.prepare_all()
        stop_server(self.server)
        self.environment["REDIS_URL"] = f"redis://127.0.0.1:{free_ports(1)[0]}/0"
        self.command += ["--only", "web,worker,watchdog,observer"]
        System.__enter__(self)
        return self

    def get(self, path: str) -> requests.Response:
        cookies = {f"killswitch_{self.port}_session": "a" * 32}  # of a session before the outage
        return requests.get(f"http://127.0.0.1:{self.port}{path}", timeout=20, cookies=cookies)

    def checks(self) -> dict[str, bool]:
        return {check["name"]: check["ok"] for check in self.get("/readyz").json()["checks"]}


def test_it_starts_without_database_and_redis_and_recovers(tmp_path: Path) -> None:
    with StartedInAnOutage(tmp_path) as system:
        wait_for(system.serves, seconds=120)
        assert system.get("/readyz").status_code == 503
        assert system.checks() == {"database": False}
        page = system.get("/")
        assert page.status_code == 503
        assert "officer has signed in recently" in " ".join(page.text.split())
        lines = system.output()
        assert "DATABASE_URL: the database" in lines
        assert "REDIS_URL: the Redis at" in lines
        assert "Running without the database: web, worker, watchdog, observer." in lines
        assert "Traceback" not in lines
        system.server.start()
        needed = {"database", "watchdog", "observer", "ems", "ems_reach"}
        wait_for(lambda: needed <= {name for name, ok in system.checks().items() if ok}, seconds=60)
        assert not system.checks()["broker"]
        kinds = "SELECT data FROM audit_auditevent WHERE kind = %s"
        wait_for(lambda: bool(system.select(kinds, "STARTED")), seconds=30)
        ((data,),) = system.select(kinds, "STARTED")
        assert json.loads(data)["programs"] == ["web", "worker", "watchdog", "observer"]
