"""Measure what a verification and exports of a long log do to a cancel.

    python -m bench.beside --database sqlite --events 1000000

Cancels on one exchange and on fifty with a whole system: idle, and while `verify_audit`, a web
export and `export_audit` go on beside it.
"""

import argparse
import multiprocessing
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial

import requests

from bench.kill import FIFTY, Office, print_growth
from bench.running_system import (
    AUDITOR,
    DATABASES,
    RunningSystem,
    cookie_header,
    running_system,
)

COMMANDS = (["verify_audit"], ["export_audit", "--format", "csv"])


def main() -> None:
    """Parse the options, measure, and print one line of JSON for each figure."""
    parser = argparse.ArgumentParser(description="Time a cancel beside work on a long log.")
    parser.add_argument("--database", choices=DATABASES, default="sqlite")
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--presses", type=int, default=30, help="cancels on one exchange")
    parser.add_argument("--rounds", type=int, default=9, help="cancels on fifty")
    options = parser.parse_args()
    with running_system(options.database, exchanges=FIFTY, events=options.events) as running:
        office = Office(running)
        measure = partial(office.medians, presses=options.presses, rounds=options.rounds)
        measure()
        idle = measure()
        with work_on_the_log(running):
            busy = measure()
    print_growth("beside a verification and exports", busy=busy, idle=idle)


@contextmanager
def work_on_the_log(running: RunningSystem) -> Iterator[None]:
    """Verify and export the log again and again meanwhile."""
    from tests.supervision.system_process import MANAGE

    stop = threading.Event()
    processes: dict[str, subprocess.Popen[bytes]] = {}
    auditor = running.sign_in(AUDITOR)

    def repeat(arguments: list[str]) -> None:
        while not stop.is_set():
            command = [sys.executable, MANAGE, *arguments]
            processes[arguments[0]] = subprocess.Popen(
                command,
                env=running.system.environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            processes[arguments[0]].wait()

    threads = [threading.Thread(target=repeat, args=[arguments]) for arguments in COMMANDS]
    # A process of its own: its work must not slow down what is measured here.
    download = multiprocessing.get_context("spawn").Process(
        target=download_for_ever, args=(running.url, cookie_header(auditor)), daemon=True
    )
    download.start()
    for thread in threads:
        thread.start()
    time.sleep(5)
    try:
        yield
    finally:
        stop.set()
        download.kill()
        for process in processes.values():
            process.kill()
        for thread in threads:
            thread.join()
        download.join()


def download_for_ever(url: str, cookies: str) -> None:
    """Download the whole log again and again."""
    while True:
        with suppress(requests.RequestException):
            reply = requests.get(
                f"{url}/audit/export.csv", headers={"Cookie": cookies}, stream=True, timeout=60
            )
            for _ in reply.iter_content(64 * 1024):
                pass


if __name__ == "__main__":
    main()
