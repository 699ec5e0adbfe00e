"""Measure what a flood of cheap or slow requests does to a cancel.

    python -m bench.flood --database sqlite --floods exports

Cancels on one exchange and on fifty with a whole system: idle, and while another process floods
the web server with exports, pages, sign-ins, or forms whose bodies never end.
"""

import argparse
import asyncio
import itertools
import multiprocessing
import re
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from bench.kill import FIFTY, Office, print_growth
from bench.running_system import AUDITOR, DATABASES, cookie_header, running_system

TIMEOUT_S = 30.0
VISITS = itertools.count()
COUNTS = {"exports": 20, "pages": 20, "sign-ins": 40, "unfinished bodies": 600}


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
    "exports": exports,
    "pages": pages,
    "sign-ins": sign_ins,
    "unfinished bodies": bodies,
}


def flood_for_ever(kind: str, port: int, cookies: str) -> None:
    """Flood the web server, in a process of its own."""

    async def run() -> None:
        await asyncio.gather(*(FLOODS[kind](port, cookies) for _ in range(COUNTS[kind])))

    asyncio.run(run())


@contextmanager
def flooded(kind: str, port: int, cookies: str) -> Iterator[None]:
    """Flood the web server meanwhile."""
    process = multiprocessing.get_context("spawn").Process(
        target=flood_for_ever, args=(kind, port, cookies), daemon=True
    )
    process.start()
    time.sleep(3)
    try:
        yield
    finally:
        process.kill()
        process.join()


def main() -> None:
    """Parse the options, measure, and print one line of JSON for each figure."""
    parser = argparse.ArgumentParser(description="Time a cancel while the console is flooded.")
    parser.add_argument("--database", choices=DATABASES, default="sqlite")
    parser.add_argument("--presses", type=int, default=15, help="cancels on one exchange")
    parser.add_argument("--rounds", type=int, default=5, help="cancels on fifty")
    parser.add_argument("--floods", nargs="+", choices=FLOODS, default=list(FLOODS))
    options = parser.parse_args()
    with running_system(options.database, exchanges=FIFTY) as running:
        office = Office(running)
        auditor = running.sign_in(AUDITOR)
        measure = partial(office.medians, presses=options.presses, rounds=options.rounds)
        measure()
        for kind in options.floods:
            idle = measure()
            session = auditor if kind == "exports" else running.session
            with flooded(kind, int(running.system.port), cookie_header(session)):
                busy = measure()
            print_growth(f"flood of {kind}", busy=busy, idle=idle)


if __name__ == "__main__":
    main()
