"""An officer who cancels every second, and remembers what the console answered."""

import random
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import requests

from tests.chaos.hosts import TIMEOUT_S, Installation
from tests.supervision.system_process import fields

EVERYWHERE_SHARE = 0.1
NEW_ORDERS = 2
RECORDED, NOT_RECORDED, UNKNOWN = "recorded", "not recorded", "not known"
NOT_ASKED = "no question"  # the page before the cancel did not come


@dataclass(frozen=True, kw_only=True)
class Press:
    """One press and its answer."""

    answer: str
    batch: str  # "" unless recorded
    orders: Mapping[str, Sequence[str]]  # open before the press, by exchange


class Presser(threading.Thread):
    """Presses once a second, on either host, until it is stopped."""

    def __init__(self, system: Installation, dice: random.Random) -> None:
        super().__init__(daemon=True)
        self._system = system
        self._dice = dice
        self._stop_pressing = threading.Event()
        self.presses: list[Press] = []

    def run(self) -> None:
        while not self._stop_pressing.is_set():
            began_at = time.monotonic()
            self.presses.append(self._press())
            self._stop_pressing.wait(max(0.0, 1 - (time.monotonic() - began_at)))

    def stop(self) -> None:
        self._stop_pressing.set()
        self.join(timeout=3 * TIMEOUT_S)

    def _press(self) -> Press:
        system, host = self._system, self._dice.choice(self._system.hosts)
        exchange_ids: Sequence[str] = [self._dice.choice(system.exchange_ids)]
        path = f"/exchanges/{system.pks[exchange_ids[0]]}/cancel-all/"
        if self._dice.random() < EVERYWHERE_SHARE:
            exchange_ids, path = system.exchange_ids, "/cancel-all/"
        orders = {name: system.ems.place(name, NEW_ORDERS) for name in exchange_ids}
        address = host.url + path
        try:
            form = fields(host.session, address)
        except requests.RequestException:
            form = {}
        if "key" not in form:
            return Press(answer=NOT_ASKED, batch="", orders=orders)
        try:
            reply = host.session.post(address, data=form, timeout=TIMEOUT_S, allow_redirects=False)
        except requests.RequestException:
            return Press(answer=UNKNOWN, batch="", orders=orders)
        if reply.status_code == 303:
            batch = reply.headers["Location"].split("/")[2]
            return Press(answer=RECORDED, batch=batch, orders=orders)
        is_not_recorded = reply.headers.get("X-Recorded") == "no"
        answer = NOT_RECORDED if is_not_recorded else UNKNOWN
        return Press(answer=answer, batch="", orders=orders)
