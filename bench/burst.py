"""Measure three cancels on sixty exchanges each at the same moment, on PostgreSQL.

    python -m bench.burst --rounds 5

How many connections they open, and how long the EMS waits for the last one of each.
"""

import argparse
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import requests

from bench.figures import Figure, percentile
from bench.kill import wait
from bench.running_system import OFFICER, TOKEN, RunningSystem, running_system

SIXTY = [f"VENUE{number:02}" for number in range(60)]
AT_ONCE = 3
MAX_CONNECTIONS = 60  # of one host, as docs/operating.md says
SESSIONS = """
    SELECT count(*) FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
"""


def main() -> None:
    """Press, and print one line of JSON for each figure."""
    parser = argparse.ArgumentParser(description="Time three cancels on sixty exchanges at once.")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with running_system("postgresql", exchanges=SIXTY) as running:
        officers = [running.session, *(running.sign_in(OFFICER) for _ in range(AT_ONCE - 1))]
        with watched_sessions(running.database_url) as counts:
            wires_s = [second for _ in range(options.rounds) for second in burst(running, officers)]
        log = running.system.output()
    refusals = sum("database_gone" in line or "stay in use" in line for line in log.splitlines())
    for figure in (
        Figure(
            name="three at once, sixty each: on the wire, p99",
            value=percentile([1000 * second for second in wires_s], 99),
            unit="ms",
            limit=1500,
        ),
        Figure(
            name="three at once: connections to PostgreSQL",
            value=max(counts),
            unit="",
            limit=MAX_CONNECTIONS,
        ),
        Figure(name="three at once: refused connections", value=refusals, unit="", limit=0),
    ):
        print(figure.to_line())


def burst(running: RunningSystem, officers: list[requests.Session]) -> list[float]:
    """Cancel everywhere with each officer at once; return the seconds until each call arrived."""
    address = f"{running.url}/cancel-all/"
    forms = [dict(TOKEN.findall(officer.get(address).text)) for officer in officers]
    before = len(running.simulator.calls())
    barrier = threading.Barrier(len(officers))

    def press(officer: requests.Session, fields: dict[str, str]) -> float:
        barrier.wait()
        started_at = time.monotonic()
        reply = officer.post(address, data=fields, headers={"HX-Request": "true"})
        assert reply.status_code == 202, reply.text
        return started_at

    with ThreadPoolExecutor(len(officers)) as pool:
        started_at = min(pool.map(press, officers, forms))
    expected = len(officers) * len(SIXTY)
    wait(lambda: len(running.simulator.calls()) >= before + expected, pause_s=0.5)
    received = [call.received_monotonic for call in running.simulator.calls()[before:]]
    open_requests = "SELECT 1 FROM cancels_cancelrequest WHERE finished_at IS NULL"
    wait(lambda: not running.select(open_requests), pause_s=0.5)
    return [at - started_at for at in received[:expected]]


@contextmanager
def watched_sessions(database_url: str) -> Iterator[list[int]]:
    """Count the sessions of the server many times a second; the list has the counts at the end."""
    counts: list[int] = []
    stop = threading.Event()

    def look() -> None:
        with psycopg.connect(database_url, autocommit=True) as own:
            while not stop.wait(0.01):
                row = own.execute(SESSIONS).fetchone()
                counts.append(int(row[0]) if row else 0)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield counts
    finally:
        stop.set()
        thread.join()


if __name__ == "__main__":
    main()
