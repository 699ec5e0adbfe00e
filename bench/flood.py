"""Measure what a flood of cheap or slow requests does to a cancel.

    python -m bench.flood --floods polls,exports

Starts `manage.py up` with the simulated EMS, and cancels on one exchange and on fifty: idle, and
while another process floods the web server. Prints medians; only the ratio to idle is comparable
between machines.
"""

import argparse
import asyncio
import itertools
import multiprocessing
import os
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from bench.kill import FIFTY, Office

KNOWN = re.compile(rb'name="known" value="(\d+)"')
TIMEOUT_S = 30.0
VISITS = itertools.count()
TIMES = Path()  # seconds that polls have taken, one a line
COUNTS = {"polls": 100, "exports": 20, "sign-ins": 40, "pages": 20, "bodies": 200}


class Visitor:
    """A client over a bare socket, which costs little processor time of its own."""

    def __init__(self, port: int, cookies: str, *, source: str = "127.0.0.1") -> None:
        self.address = ("127.0.0.1", port)
        self.source = source
        self.head = f" HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nCookie: {cookies}\r\n"
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, path: str) -> bytes:
        """Return the whole answer, over one connection as long as the server keeps it."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await self._ask(f"GET {path}{self.head}\r\n".encode())
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            self.close()
            return b""

    async def post(self, path: str, form: str) -> bytes:
        head = f"Content-Length: {len(form)}\r\nContent-Type: application/x-www-form-urlencoded"
        try:
            return await self._ask(f"POST {path}{self.head}{head}\r\n\r\n{form}".encode())
        except (OSError, asyncio.IncompleteReadError):
            self.close()
            return b""

    def close(self) -> None:
        if self.streams:
            self.streams[1].close()
        self.streams = None

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(*self.address, local_addr=(self.source, 0))

    async def _ask(self, request: bytes) -> bytes:
        reader, writer = self.streams = self.streams or await self.connect()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        if b"transfer-encoding: chunked" in head.lower():
            while size := int(await reader.readline(), 16):
                await reader.readexactly(size + 2)
            await reader.readline()
            return head
        length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        return head + (await reader.readexactly(int(length[1])) if length else b"")


async def polls(port: int, cookies: str) -> None:
    visitor = Visitor(port, cookies)
    known = b"0"
    while True:
        asked_at = time.monotonic()
        answer = await visitor.get(f"/poll/?known={known.decode()}&show=console")
        with TIMES.open("a") as times:
            print(time.monotonic() - asked_at, file=times)
        known = (KNOWN.findall(answer) or [known])[-1]
        await asyncio.sleep(1)


async def exports(port: int, cookies: str) -> None:
    while await Visitor(port, cookies).get("/audit/export.csv") or True:
        pass


async def pages(port: int, cookies: str) -> None:
    while await Visitor(port, cookies).get("/requests/") or True:
        pass


async def sign_ins(port: int, _cookies: str) -> None:
    while True:
        number = next(VISITS) % 60_000
        visitor = Visitor(port, "", source=f"127.0.{number // 250}.{number % 250 + 2}")
        page = await visitor.get("/accounts/login/")
        token = re.search(rb'csrfmiddlewaretoken" value="([^"]+)', page)
        cookie = re.search(rb"set-cookie: ([^;]+_csrf=[^;]+)", page, re.IGNORECASE)
        if token and cookie:
            visitor.head = visitor.head.replace("Cookie: ", f"Cookie: {cookie[1].decode()}")
            form = f"csrfmiddlewaretoken={token[1].decode()}&login=olga&password=wrong"
            await visitor.post("/accounts/login/", form)
        visitor.close()


async def bodies(port: int, cookies: str) -> None:
    while True:
        with suppress(OSError):
            _, writer = await Visitor(port, cookies).connect()
            writer.write(b"POST /accounts/login/ HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\na")
            await asyncio.sleep(600)


FLOODS: dict[str, Callable[[int, str], Coroutine[Any, Any, None]]] = {
    "polls": polls,
    "exports": exports,
    "pages": pages,
    "sign-ins": sign_ins,
    "bodies": bodies,
}


def flood_for_ever(kind: str, port: int, cookies: str, times: Path) -> None:
    """Flood the web server, in a process of its own."""
    global TIMES  # noqa: PLW0603 - set once, at the start of the process
    TIMES = times

    async def run() -> None:
        await asyncio.gather(*(FLOODS[kind](port, cookies) for _ in range(COUNTS[kind])))

    asyncio.run(run())


@contextmanager
def flooded(kind: str, port: int, cookies: str, times: Path) -> Iterator[None]:
    process = multiprocessing.get_context("spawn").Process(
        target=flood_for_ever, args=(kind, port, cookies, times), daemon=True
    )
    process.start()
    time.sleep(3)
    try:
        yield
    finally:
        process.kill()
        process.join()
        if times.exists():
            polls_ms = sorted(1000 * float(line) for line in times.read_text().split())
            p95 = polls_ms[int(len(polls_ms) * 0.95)]
            print(
                f"  {len(polls_ms)} polls: {statistics.median(polls_ms):.0f}, {p95:.0f} (95 of 100)"
            )


def main() -> None:
    """Parse the options, and measure in a new data directory."""
    parser = argparse.ArgumentParser(description="Time a cancel while the console is flooded.")
    parser.add_argument("--presses", type=int, default=15, help="cancels on one exchange")
    parser.add_argument("--rounds", type=int, default=5, help="cancels on fifty")
    parser.add_argument("--floods", default=",".join(FLOODS))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as home:
        os.environ |= {"KILLSWITCH_HOME": home, "DJANGO_SETTINGS_MODULE": "killswitch.settings"}
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
        remote = SimulatorRemote(f"http://127.0.0.1:{system.simulator_port}")
        office = Office(system, remote)
        auditor = Office(system, remote, name="carl")
        _report("idle", office, options)
        for kind in options.floods.split(","):
            who = auditor if kind == "exports" else office
            cookies = "; ".join(f"{c.name}={c.value}" for c in who.session.cookies)
            with flooded(kind, int(system.port), cookies, home / "polls.txt"):
                _report(kind, office, options)
        _report("idle", office, options)
        system.stop()


def _report(name: str, office: Office, options: argparse.Namespace) -> None:
    healthz = []
    for _ in range(options.presses):
        started_at = time.monotonic()
        office.session.get(f"{office.url}/healthz")
        healthz.append(time.monotonic() - started_at)
    singles = [office.press(FIFTY[:1]).answer_s for _ in range(options.presses)]
    fifties = [office.press(FIFTY) for _ in range(options.rounds)]
    columns = {
        "healthz": healthz,
        "one": singles,
        "fifty": [press.answer_s for press in fifties],
        "fifty on the wire": [press.wire_s for press in fifties],
    }
    figures = (f"{key} {1000 * statistics.median(values):.1f}" for key, values in columns.items())
    print(f"{name:10}", *figures, "(ms)", sep="   ", flush=True)


if __name__ == "__main__":
    main()
