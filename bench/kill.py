"""Measure how long a cancel takes from the click to the wire, compared with a bare script.

    python -m bench.kill --pollers 20

Starts `manage.py up` with the simulated EMS, cancels on one exchange and on fifty, and prints
medians. A script of fifty threads and one Session makes the same calls in turn on the same machine:
only the ratio is comparable between machines. With pollers, that many open pages poll meanwhile.
"""

import argparse
import os
import re
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import requests

from killswitch.runtime.deadlines import wait_until

if TYPE_CHECKING:
    from tests.simulator.remote import SimulatorRemote
    from tests.supervision.system_process import System

FIFTY = [f"VENUE{number:02}" for number in range(50)]
TOKEN = re.compile(r'name="(csrfmiddlewaretoken|key)" value="([^"]+)"')


def main() -> None:
    """Parse the options, and measure in a new data directory."""
    parser = argparse.ArgumentParser(description="Time a cancel from the click to the wire.")
    parser.add_argument("--presses", type=int, default=30, help="cancels on one exchange")
    parser.add_argument("--rounds", type=int, default=9, help="cancels on fifty")
    parser.add_argument("--pollers", type=int, default=0, help="open pages that poll meanwhile")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as home:
        os.environ |= {
            "KILLSWITCH_HOME": home,
            "DJANGO_SETTINGS_MODULE": "killswitch.settings",
        }
        import django

        django.setup()
        _measure(Path(home), options)


def _measure(home: Path, options: argparse.Namespace) -> None:
    from tests.simulator.remote import SimulatorRemote
    from tests.supervision.system_process import System

    system = System(home)
    system.environment |= {"KILLSWITCH_EXCHANGES": " ".join(FIFTY)}
    with system:
        system.wait_until_it_serves()
        office = Office(system, SimulatorRemote(f"http://127.0.0.1:{system.simulator_port}"))
        with office.open_pages(options.pollers):
            singles = [office.press(FIFTY[:1]) for _ in range(options.presses)]
            pairs = [(office.press(FIFTY), office.bare()) for _ in range(options.rounds)]
        system.stop()
    _print("one exchange: answer", [press.answer_s for press in singles])
    _print("one exchange: on the wire", [press.wire_s for press in singles])
    _print("fifty: answer", [press.answer_s for press, _ in pairs])
    _print("fifty: last on the wire", [press.wire_s for press, _ in pairs])
    _print("fifty: a bare script", [bare for _, bare in pairs])
    ratios = [press.wire_s / bare for press, bare in pairs]
    print(f"{'fifty: ratio to the bare script':32}{statistics.median(ratios):10.2f} x")


def _print(name: str, seconds: list[float]) -> None:
    times_ms = sorted(1000 * value for value in seconds)
    p95 = times_ms[int(len(times_ms) * 0.95)]
    print(f"{name:32}{statistics.median(times_ms):10.1f} ms{p95:10.1f} ms (95 of 100)")


class Press:
    """Seconds from the click to the answer, and to the last POST that the EMS received."""

    def __init__(self, *, answer_s: float, wire_s: float) -> None:
        self.answer_s = answer_s
        self.wire_s = wire_s


class Office:
    """A risk officer with a browser's cookies, and the simulator that records the calls."""

    def __init__(
        self, system: "System", simulator: "SimulatorRemote", *, name: str = "olga"
    ) -> None:
        self.system = system
        self.url = f"http://127.0.0.1:{system.port}"
        self.simulator = simulator
        self.session = self._signed_in(system, name)
        ids = dict(system.select("SELECT exchange_id, id FROM exchanges_exchange"))
        self.numbers = {exchange_id: ids[exchange_id] for exchange_id in FIFTY}

    def press(self, exchange_ids: list[str]) -> Press:
        """Cancel, and wait until the EMS has received every call and every request is final."""
        query = "&".join(f"exchange={self.numbers[exchange_id]}" for exchange_id in exchange_ids)
        address = f"{self.url}/cancel-all/?{query}"
        fields = dict(TOKEN.findall(self.session.get(address).text))
        before = len(self.simulator.calls())
        started_at = time.monotonic()
        reply = self.session.post(address, data=fields, headers={"HX-Request": "true"})
        answer_s = time.monotonic() - started_at
        assert reply.status_code == 202, reply.text
        received_at = self._received_at(before, len(exchange_ids))
        self._wait_until_all_are_final()
        return Press(answer_s=answer_s, wire_s=max(received_at) - started_at)

    def bare(self) -> float:
        """Return the seconds that the same fifty calls take with threads and one Session alone."""
        before = len(self.simulator.calls())
        with requests.Session() as session, ThreadPoolExecutor(len(FIFTY)) as pool:
            adapter = requests.adapters.HTTPAdapter(pool_maxsize=len(FIFTY))
            session.mount("http://", adapter)
            url = f"{self.simulator.url}/v1/orders/cancel/all"
            started_at = time.monotonic()
            list(pool.map(lambda name: session.post(url, json={"exchange_id": name}), FIFTY))
        return max(self._received_at(before, len(FIFTY))) - started_at

    @contextmanager
    def open_pages(self, count: int) -> Iterator[None]:
        """Keep so many tabs open, each of which polls once a second."""
        stop = threading.Event()
        threads = [threading.Thread(target=self._poll, args=[stop]) for _ in range(count)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    def _poll(self, stop: threading.Event) -> None:
        with requests.Session() as tab:
            tab.cookies.update(self.session.cookies)
            while not stop.wait(1):
                query = {"known": "0", "show": "console"}
                tab.get(f"{self.url}/poll/", params=query, headers={"HX-Request": "true"})

    def _received_at(self, before: int, count: int) -> list[float]:
        _wait(lambda: len(self.simulator.calls()) >= before + count)
        return [call.received_monotonic for call in self.simulator.calls()[before:][:count]]

    def _wait_until_all_are_final(self) -> None:
        # `/metrics` may be a second late, and the next cancel would then join this one.
        open_requests = "SELECT 1 FROM cancels_cancelrequest WHERE finished_at IS NULL"
        _wait(lambda: not self.system.select(open_requests))

    def _signed_in(self, system: "System", name: str) -> requests.Session:
        people = (system.home / "demo-people.txt").read_text()
        password = dict(line.split() for line in people.splitlines())[name]
        session = requests.Session()
        # The server closes idle connections; this may be the moment of the next GET.
        session.mount("http://", requests.adapters.HTTPAdapter(max_retries=1))
        address = f"{self.url}/accounts/login/"
        fields = dict(TOKEN.findall(session.get(address).text))
        session.post(address, data=fields | {"login": name, "password": password})
        return session


def _wait(condition: Callable[[], bool]) -> None:
    assert wait_until(condition, timeout_s=60, pause_s=0.05), (
        "the condition did not hold within a minute"
    )


if __name__ == "__main__":
    main()
