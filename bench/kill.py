"""How long a press takes to reach the wire, beside what a bare script needs for the same calls.

    python -m bench.kill --pollers 20

Starts `manage.py up` with the simulated EMS, presses for one exchange and for fifty, and prints
medians. Beside them stands a script of fifty threads and one Session, taken in turn on the same
machine: the ratio is what can be trusted. With pollers, that many open pages ask meanwhile.
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

if TYPE_CHECKING:
    from killswitch.simulator.client import SimulatorRemote
    from tests.supervision.system_process import System

FIFTY = [f"VENUE{number:02}" for number in range(50)]
TOKEN = re.compile(r'name="(csrfmiddlewaretoken|key)" value="([^"]+)"')


def main() -> None:
    """Start, press, compare, print."""
    parser = argparse.ArgumentParser(description="Time a press from the click to the wire.")
    parser.add_argument("--presses", type=int, default=30, help="for one exchange")
    parser.add_argument("--rounds", type=int, default=9, help="for fifty")
    parser.add_argument("--pollers", type=int, default=0, help="open pages that ask meanwhile")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as home:
        os.environ |= {
            "KILLSWITCH_HOME": home,
            "DJANGO_SETTINGS_MODULE": "killswitch.settings",
        }
        import django

        django.setup()
        _measure(Path(home), asked)


def _measure(home: Path, asked: argparse.Namespace) -> None:
    from killswitch.simulator.client import SimulatorRemote
    from tests.supervision.system_process import System

    system = System(home)
    system.environment |= {"KILLSWITCH_EXCHANGES": " ".join(FIFTY)}
    with system:
        system.wait_until_it_serves()
        office = Office(system, SimulatorRemote(f"http://127.0.0.1:{system.simulator_port}"))
        with office.open_pages(asked.pollers):
            one = [office.press(FIFTY[:1]) for _ in range(asked.presses)]
            pairs = [(office.press(FIFTY), office.bare()) for _ in range(asked.rounds)]
        system.stop()
    _print("one exchange: answer", [press.answer for press in one])
    _print("one exchange: on the wire", [press.wire for press in one])
    _print("fifty: answer", [press.answer for press, _ in pairs])
    _print("fifty: last on the wire", [press.wire for press, _ in pairs])
    _print("fifty: a bare script", [bare for _, bare in pairs])
    ratios = [press.wire / bare for press, bare in pairs]
    print(f"{'fifty: ratio to the bare script':32}{statistics.median(ratios):10.2f} x")


def _print(name: str, seconds: list[float]) -> None:
    parts = sorted(1000 * each for each in seconds)
    nearly_all = parts[int(len(parts) * 0.95)]
    print(f"{name:32}{statistics.median(parts):10.1f} ms{nearly_all:10.1f} ms (95 of 100)")


class Press:
    """Seconds from the click to the answer, and to the last POST that the EMS received."""

    def __init__(self, *, answer: float, wire: float) -> None:
        self.answer = answer
        self.wire = wire


class Office:
    """A risk officer with a browser's cookies, and the EMS that tells what it received."""

    def __init__(self, system: "System", simulator: "SimulatorRemote") -> None:
        self.system = system
        self.url = f"http://127.0.0.1:{system.port}"
        self.simulator = simulator
        self.session = self._signed_in(system)
        ids = dict(system.select("SELECT exchange_id, id FROM exchanges_exchange"))
        self.numbers = {each: ids[each] for each in FIFTY}

    def press(self, exchange_ids: list[str]) -> Press:
        """Ask, confirm, and wait until the EMS has it all and every request has ended."""
        query = "&".join(f"exchange={self.numbers[each]}" for each in exchange_ids)
        address = f"{self.url}/cancel-all/?{query}"
        fields = dict(TOKEN.findall(self.session.get(address).text))
        before = len(self.simulator.calls())
        began = time.monotonic()
        reply = self.session.post(address, data=fields, headers={"HX-Request": "true"})
        answer = time.monotonic() - began
        assert reply.status_code == 202, reply.text
        calls = self._received(before, len(exchange_ids))
        self._until_all_have_ended()
        return Press(answer=answer, wire=max(calls) - began)

    def bare(self) -> float:
        """The same fifty calls without anything of ours: threads and one Session."""
        before = len(self.simulator.calls())
        with requests.Session() as session, ThreadPoolExecutor(len(FIFTY)) as pool:
            adapter = requests.adapters.HTTPAdapter(pool_maxsize=len(FIFTY))
            session.mount("http://", adapter)
            url = f"{self.simulator.url}/v1/orders/cancel/all"
            began = time.monotonic()
            list(pool.map(lambda each: session.post(url, json={"exchange_id": each}), FIFTY))
        return max(self._received(before, len(FIFTY))) - began

    @contextmanager
    def open_pages(self, count: int) -> Iterator[None]:
        """So many tabs, each asking once a second."""
        stop = threading.Event()
        threads = [threading.Thread(target=self._follow, args=[stop]) for _ in range(count)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    def _follow(self, stop: threading.Event) -> None:
        with requests.Session() as tab:
            tab.cookies.update(self.session.cookies)
            while not stop.wait(1):
                known = {"known": "0", "show": "console"}
                tab.get(f"{self.url}/poll/", params=known, headers={"HX-Request": "true"})

    def _received(self, before: int, count: int) -> list[float]:
        _wait(lambda: len(self.simulator.calls()) >= before + count)
        return [call.received_monotonic for call in self.simulator.calls()[before:][:count]]

    def _until_all_have_ended(self) -> None:
        """By the rows: `/metrics` may be a second old, and the next press would meet this one."""
        _wait(lambda: self._count("finished_at IS NULL") == 0)

    def _count(self, condition: str) -> int:
        rows = self.system.select(f"SELECT count(*) FROM cancels_cancelrequest WHERE {condition}")
        return int(rows[0][0])

    def _signed_in(self, system: "System") -> requests.Session:
        kept = (system.home / "demo-people.txt").read_text()
        password = dict(line.split() for line in kept.splitlines())["olga"]
        session = requests.Session()
        address = f"{self.url}/accounts/login/"
        fields = dict(TOKEN.findall(session.get(address).text))
        session.post(address, data=fields | {"login": "olga", "password": password})
        return session


def _wait(condition: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < give_up_at, "it did not become so within a minute"
        time.sleep(0.05)


if __name__ == "__main__":
    main()
