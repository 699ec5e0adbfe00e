"""The previous version goes on cancelling while, and after, this one prepares the database.

`releases/` has the source of the previous version, as `git archive` packs it. Replace it at each
release.
"""

import json
import signal
import sqlite3
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import psycopg
import pytest
import requests

from killswitch.simulator.server import Simulator
from tests.conftest import RedisProcess, wait_for
from tests.stack import ROOT
from tests.supervision.system_process import answers, belongs_to, environment, fields, free_ports

pytestmark = [pytest.mark.both_databases, pytest.mark.timeout(300)]

PREVIOUS = Path(__file__).parent / "releases" / "0.1.0.tar.xz"
# 0.1.0 starts them by a package that this version does not need any more.
COMMANDS = """
import json, django
django.setup()
from killswitch.supervision.programs import all_programs
print(json.dumps([program.command for program in all_programs()]))
"""
PASSWORD = "correct-horse-battery-staple"


class Version:
    """One version of the product, on a host of its own; both share database, Redis and EMS."""

    def __init__(self, root: Path, home: Path, **variables: str) -> None:
        self.root = root
        self.port = free_ports(1)[0]
        home.mkdir()
        self.log = home / "up.txt"
        self.environment = environment(KILLSWITCH_HOME=str(home), PORT=self.port, **variables)
        self.running: list[subprocess.Popen[bytes]] = []

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=self.root,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def prepare(self) -> None:
        process = self.manage("prepare")
        assert process.returncode == 0, process.stderr

    def start(self) -> None:
        """Start all programs but Redis and the simulator."""
        self._start([sys.executable, "manage.py", "up", "--only", "web,worker,watchdog,observer"])
        self._wait_until_ready()

    def start_without_up(self) -> None:
        """Start the programs one by one, as `up` of that version does."""
        output = subprocess.check_output(
            [sys.executable, "-c", COMMANDS], cwd=self.root, env=self.environment, text=True
        )
        for command in json.loads(output):
            self._start(command)
        self._wait_until_ready()

    def stop(self) -> None:
        for process in self.running:
            process.send_signal(signal.SIGTERM)
        for process in self.running:
            process.wait(timeout=30)
        self.running.clear()

    def kill(self) -> None:
        for process in self.running:
            process.kill()
            process.wait()
        for program in psutil.process_iter():
            if belongs_to(program, home=self.log.parent):
                program.kill()

    def begin(self, *arguments: str) -> subprocess.Popen[bytes]:
        return self._start([sys.executable, "manage.py", *arguments])

    def _start(self, command: list[str]) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                command, cwd=self.root, env=self.environment, stdout=log, stderr=log
            )
        self.running.append(process)
        return process

    def _wait_until_ready(self) -> None:
        def is_ready() -> bool:
            return answers(port=int(self.port), path="/readyz") or self.has_ended()

        wait_for(is_ready, seconds=120)
        assert not self.has_ended(), self.log.read_text()

    def has_ended(self) -> bool:
        return any(process.poll() is not None for process in self.running)

    def cancel(self, exchange_id: str) -> str:
        """Cancel on the command line; return the status at the end."""
        process = self.manage("cancel_all", exchange_id, "--reason", f"of {self.root.name}")
        (line,) = (json.loads(line) for line in process.stdout.splitlines() if line[:1] == "{")
        return str(line["status"])

    def sign_in(self, name: str = "olga") -> requests.Session:
        session = requests.Session()
        address = f"http://127.0.0.1:{self.port}/accounts/login/"
        person = {"login": name, "password": PASSWORD}
        form = fields(session, address) | person
        assert session.post(address, data=form, allow_redirects=False).status_code == 302
        return session

    def press(self, session: requests.Session) -> str:
        """Cancel on all exchanges in a browser; return the path of the page that shows it."""
        address = f"http://127.0.0.1:{self.port}/cancel-all/"
        reply = session.post(address, data=fields(session, address), allow_redirects=False)
        assert reply.status_code == 303, reply.text
        return reply.headers["Location"]


@pytest.fixture
def versions(
    tmp_path: Path, empty_database: str, simulator: Simulator, own_redis: RedisProcess
) -> Iterator[tuple[Version, Version]]:
    """Return the previous version and this one."""
    root = tmp_path / "previous"
    with tarfile.open(PREVIOUS) as archive:
        archive.extractall(root, filter="data")
    shared = {
        "DATABASE_URL": empty_database,
        "REDIS_URL": f"unix://{own_redis.path}",
        "EMS_BASE_URL": simulator.url,
        "SECRET_KEY": "the-same-on-both-hosts",
        "KILLSWITCH_EXCHANGES": "KRAKEN BITMEX",
        "KILLSWITCH_PASSWORD": PASSWORD,
    }
    previous = Version(root, tmp_path / "host1", **shared)
    present = Version(ROOT, tmp_path / "host2", **shared)
    yield previous, present
    previous.kill()
    present.kill()


def test_both_versions_cancel_on_the_database_of_the_newer_one(
    versions: tuple[Version, Version], simulator: Simulator
) -> None:
    previous, present = versions
    previous.prepare()
    for name, role in (("olga", "risk_officer"), ("carl", "compliance")):
        assert previous.manage("add_user", name, "--role", role).returncode == 0
    previous.start_without_up()
    officer = previous.sign_in()
    assert previous.cancel("KRAKEN") == "CONFIRMED"
    present.prepare()
    # The processes of the previous version go on, with sessions from before and new ones.
    for session in (officer, previous.sign_in()):
        assert previous.press(session).startswith("/batches/")
    assert previous.cancel("KRAKEN") == "CONFIRMED"
    present.start()
    for version in (previous, present, previous, present):
        assert version.cancel("BITMEX") == "CONFIRMED"
    assert present.press(present.sign_in()).startswith("/batches/")
    # Events and alarms of kinds that the previous version does not know can be read there.
    present.manage("record_restore", "--reason", "drill", "--without-checkpoints")
    auditor = previous.sign_in("carl")
    for path in ("/", "/requests/", "/audit/"):
        assert auditor.get(f"http://127.0.0.1:{previous.port}{path}").status_code == 200, path
    previous.stop()
    assert present.cancel("KRAKEN") == "CONFIRMED"
    # Back by one version: it works as well.
    present.stop()
    previous.start_without_up()
    assert previous.cancel("KRAKEN") == "CONFIRMED"
    previous.stop()
    lines = present.manage("export_audit").stdout.splitlines()
    ends = [event for event in map(json.loads, lines) if event.get("kind") == "FINISHED"]
    assert [event["status"] for event in ends] == ["CONFIRMED"] * 14
    result = present.manage("verify_audit")
    assert result.returncode == 0, result.stdout
    assert len(simulator.calls()) == 14
    assert "Traceback" not in previous.log.read_text() + present.log.read_text()


@pytest.mark.only_on("postgresql")
def test_a_reader_that_never_ends_holds_up_the_migrations_and_not_the_cancels(
    versions: tuple[Version, Version], empty_database: str
) -> None:
    previous, present = versions
    previous.prepare()
    previous.start_without_up()
    with psycopg.connect(empty_database) as reader:
        reader.execute("SELECT 1 FROM exchanges_exchange, cancels_cancelrequest, cancels_batch")
        preparing = present.begin("prepare")
        wait_for(lambda: "migration_waits" in present.log.read_text(), seconds=60)
        assert [previous.cancel("KRAKEN") for _ in range(3)] == ["CONFIRMED"] * 3
        assert preparing.poll() is None
    assert preparing.wait(timeout=60) == 0
    assert previous.cancel("KRAKEN") == "CONFIRMED"


Columns = dict[tuple[str, str], bool]


def test_a_migration_only_adds_what_the_previous_version_can_leave_out(
    versions: tuple[Version, Version], empty_database: str
) -> None:
    previous, present = versions
    previous.prepare()
    before = columns(empty_database)
    present.prepare()
    after = columns(empty_database)
    assert before.keys() <= after.keys()
    tables = {table for table, _ in before}
    new = {key for key in after.keys() - before.keys() if key[0] in tables}
    # A column that was optional remains so, and a new one is.
    assert [key for key in before if before[key] and not after[key]] == []
    assert [key for key in new if not after[key]] == []


def columns(url: str) -> Columns:
    """Return whether an INSERT may leave out a column, by table and column."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as database:
            return {
                (table, name): bool(not is_required or default is not None or is_key)
                for (table,) in database.execute("SELECT name FROM sqlite_schema")
                for _, name, _, is_required, default, is_key in database.execute(
                    "SELECT * FROM pragma_table_info(?)", [table]
                ).fetchall()
            }
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT table_name, column_name, is_nullable = 'YES' OR column_default IS NOT NULL"
            " OR is_identity = 'YES' FROM information_schema.columns WHERE table_schema = 'public'"
        )
        return {(table, name): optional for table, name, optional in rows}
