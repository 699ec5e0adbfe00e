"""Measure how long a cancel takes from the click to the wire, alone and under a crowd.

    python -m bench.kill --database sqlite --pages 100

Cancels on one exchange and on fifty with a whole system. A bare script of fifty threads and one
Session makes the same calls in turn on the same machine: only ratios are comparable between
machines. With pages, that many browser tabs are open in another process and poll once a second.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from bench.figures import Figure, percentile
from bench.running_system import (
    DATABASES,
    TOKEN,
    RunningSystem,
    cookie_header,
    running_system,
)
from killswitch.runtime.deadlines import wait_until

FIFTY = [f"VENUE{number:02}" for number in range(50)]
ROOT = Path(__file__).resolve().parent.parent
MAX_RATIO = {"sqlite": 0.95, "postgresql": 1.1}


@dataclass(frozen=True, kw_only=True)
class Press:
    """Seconds from the click to the answer, and to the last POST that the EMS received."""

    answer_s: float
    wire_s: float


@dataclass(frozen=True, kw_only=True)
class Times:
    """What was measured with a number of open pages."""

    ones: Sequence[Press]
    fifties: Sequence[Press]
    scripts_s: Sequence[float]
    polls_s: Sequence[float]


def main() -> None:
    """Parse the options, measure, and print one line of JSON for each figure."""
    parser = argparse.ArgumentParser(description="Time a cancel from the click to the wire.")
    parser.add_argument("--database", choices=DATABASES, default="sqlite")
    parser.add_argument("--presses", type=int, default=30, help="cancels on one exchange")
    parser.add_argument("--rounds", type=int, default=9, help="cancels on fifty")
    parser.add_argument(
        "--pages", type=int, nargs="*", default=[20, 100], help="open pages, after none"
    )
    options = parser.parse_args()
    with running_system(options.database, exchanges=FIFTY) as running:
        idle = _measure(running, pages=0, presses=options.presses, rounds=options.rounds)
        figures = _idle_figures(idle, max_ratio=MAX_RATIO[options.database])
        for pages in options.pages:
            times = _measure(running, pages=pages, presses=options.presses, rounds=options.rounds)
            figures += _crowd_figures(times, idle, pages=pages)
    for figure in figures:
        print(figure.to_line())


def _measure(running: RunningSystem, *, pages: int, presses: int, rounds: int) -> Times:
    office = Office(running)
    office.press(FIFTY)  # everything has been imported and connected once
    with open_pages(running, pages) as polls_s:
        ones = [office.press(FIFTY[:1]) for _ in range(presses)]
        pairs = [(office.press(FIFTY), office.script()) for _ in range(rounds)]
    return Times(
        ones=ones,
        fifties=[press for press, _ in pairs],
        scripts_s=[script_s for _, script_s in pairs],
        polls_s=polls_s,
    )


def _idle_figures(times: Times, *, max_ratio: float) -> list[Figure]:
    ones = [1000 * press.wire_s for press in times.ones]
    answers = [1000 * press.answer_s for press in times.fifties]
    ratios = [
        press.wire_s / script_s
        for press, script_s in zip(times.fifties, times.scripts_s, strict=True)
    ]
    return [
        Figure(name="one: on the wire, median", value=statistics.median(ones), unit="ms", limit=12),
        Figure(name="one: on the wire, p95", value=percentile(ones, 95), unit="ms", limit=25),
        Figure(
            name="fifty: last on the wire, median",
            value=1000 * statistics.median(press.wire_s for press in times.fifties),
            unit="ms",
        ),
        Figure(
            name="fifty: a bare script, median",
            value=1000 * statistics.median(times.scripts_s),
            unit="ms",
        ),
        Figure(
            name="fifty: compared with the script, median of pairs",
            value=statistics.median(ratios),
            unit="x",
            limit=max_ratio,
        ),
        Figure(name="fifty: answer, p95", value=percentile(answers, 95), unit="ms", limit=150),
    ]


def _crowd_figures(times: Times, idle: Times, *, pages: int) -> list[Figure]:
    def growth(now: Sequence[Press], before: Sequence[Press]) -> float:
        medians = [statistics.median(press.wire_s for press in some) for some in (now, before)]
        return medians[0] / medians[1]

    answers = [1000 * press.answer_s for press in times.fifties]
    with_pages = f"{pages} open pages"
    return [
        Figure(
            name=f"{with_pages}, one: on the wire, compared with none",
            value=growth(times.ones, idle.ones),
            unit="x",
            limit=1.5,
        ),
        Figure(
            name=f"{with_pages}, fifty: on the wire, compared with none",
            value=growth(times.fifties, idle.fifties),
            unit="x",
            limit=1.5,
        ),
        Figure(
            name=f"{with_pages}, fifty: answer, p95",
            value=percentile(answers, 95),
            unit="ms",
            limit=150,
        ),
        Figure(
            name=f"{with_pages}: poll, p99",
            value=1000 * percentile(times.polls_s, 99),
            unit="ms",
            limit=500,
        ),
    ]


class Office:
    """A risk officer at a browser, and the simulator that records the calls."""

    def __init__(self, running: RunningSystem) -> None:
        self.running = running
        ids = dict(running.select("SELECT exchange_id, id FROM exchanges_exchange"))
        self.numbers = {exchange_id: ids[exchange_id] for exchange_id in FIFTY}

    def press(self, exchange_ids: list[str]) -> Press:
        """Cancel, and wait until the EMS has received every call and every request is final."""
        query = "&".join(f"exchange={self.numbers[exchange_id]}" for exchange_id in exchange_ids)
        address = f"{self.running.url}/cancel-all/?{query}"
        session, calls = self.running.session, self.running.simulator.calls
        fields = dict(TOKEN.findall(session.get(address).text))
        before = len(calls())
        click = requests.Request("POST", address, data=fields, headers={"HX-Request": "true"})
        prepared_click = session.prepare_request(
            click
        )  # which is not what a browser needs time for
        started_at = time.monotonic()
        reply = session.send(prepared_click)
        answer_s = time.monotonic() - started_at
        assert reply.status_code == 202, reply.text
        received_at = self._received_at(before, len(exchange_ids))
        self._wait_until_all_are_final()
        return Press(answer_s=answer_s, wire_s=max(received_at) - started_at)

    def medians(self, *, presses: int, rounds: int) -> tuple[float, float]:
        """Return the seconds until one, and until fifty, are on the wire: medians of so many."""
        ones = [self.press(FIFTY[:1]).wire_s for _ in range(presses)]
        fifties = [self.press(FIFTY).wire_s for _ in range(rounds)]
        return statistics.median(ones), statistics.median(fifties)

    def script(self) -> float:
        """Return the seconds that the same fifty calls take with threads and one Session alone."""
        before = len(self.running.simulator.calls())
        with requests.Session() as session, ThreadPoolExecutor(len(FIFTY)) as pool:
            adapter = requests.adapters.HTTPAdapter(pool_maxsize=len(FIFTY))
            session.mount("http://", adapter)
            url = f"{self.running.simulator.url}/v1/orders/cancel/all"
            started_at = time.monotonic()
            list(pool.map(lambda name: session.post(url, json={"exchange_id": name}), FIFTY))
        return max(self._received_at(before, len(FIFTY))) - started_at

    def _received_at(self, before: int, count: int) -> list[float]:
        # Seldom: each look costs the simulator processor time that the calls need.
        calls = self.running.simulator.calls
        wait(lambda: len(calls()) >= before + count, pause_s=0.5)
        return [call.received_monotonic for call in calls()[before:][:count]]

    def _wait_until_all_are_final(self) -> None:
        # `/metrics` may be a second late, and the next cancel would then join this one.
        open_requests = "SELECT 1 FROM cancels_cancelrequest WHERE finished_at IS NULL"
        wait(lambda: not self.running.select(open_requests), pause_s=0.05)


def print_growth(kind: str, *, busy: tuple[float, float], idle: tuple[float, float]) -> None:
    """Print what `medians` returned, compared with an idle system."""
    for name, now, before in zip(("one", "fifty"), busy, idle, strict=True):
        figure = Figure(
            name=f"{kind}, {name}: on the wire, compared with none",
            value=now / before,
            unit="x",
            limit=1.5,
        )
        print(figure.to_line(), flush=True)


@contextmanager
def open_pages(running: RunningSystem, count: int) -> Iterator[list[float]]:
    """Keep so many tabs open in another process; the list has the seconds of each poll at the end.

    In this process, their threads would slow down what is measured.
    """
    polls_s: list[float] = []
    if not count:
        yield polls_s
        return
    arguments = [running.system.port, str(count), cookie_header(running.session)]
    command = [sys.executable, "-m", "bench.open_pages", *arguments]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        try:
            yield polls_s
        finally:
            output, _ = process.communicate("")
            polls_s += json.loads(output)


def wait(condition: Callable[[], bool], *, pause_s: float) -> None:
    assert wait_until(condition, timeout_s=60, pause_s=pause_s), (
        "the condition did not hold within a minute"
    )


if __name__ == "__main__":
    main()
