"""The simulator's own interface under `/_simulator/`: set faults, and read what happened."""

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict

from killswitch.simulator import algorithm, answers, lives
from killswitch.simulator.algorithm import Algorithm, AlgorithmReport
from killswitch.simulator.calls import ReceivedCall
from killswitch.simulator.demo import ALL_BOOKS, NOT_CONFIGURED, open_demo
from killswitch.simulator.ems import Ems
from killswitch.simulator.faults import Fault, read_sequence
from killswitch.simulator.http import Outgoing, Request
from killswitch.simulator.lives import Life
from killswitch.simulator.parameters import InvalidFault, Parameters
from killswitch.simulator.scenarios import Call

PREFIX = "/_simulator/"
_MAX_ORDERS = 1_000_000


class Control(ABC):
    """The operations for tests and operators; `answer` makes them available over HTTP."""

    def __init__(self, ems: Ems, *, demo: bool) -> None:
        self._ems = ems
        self._is_demo = demo
        self._algorithm: Algorithm | None = None
        self._algorithm_lock = threading.Lock()
        if demo:
            self.reset()

    @abstractmethod
    def forget_connections(self) -> int:
        """Drop every connection as a lost route does: no close, no reset, no answer."""

    def reset(self) -> None:
        """Stop the algorithm, remove all orders, scripts and calls; a demo starts over."""
        self.stop_algorithm()
        self._ems.reset()
        if self._is_demo:
            open_demo(self._ems.books, script=self.script)

    def place(self, exchange_id: str, count: int) -> list[str]:
        """Place this many orders and return their client order ids."""
        return self._ems.books[exchange_id].place(count)

    def script(
        self,
        exchange_id: str,
        *,
        cancel: Sequence[Fault] | None = None,
        list: Sequence[Fault] | None = None,  # noqa: A002 - the name it has in the interface
        orders: int = 0,
        tag: str = "",
    ) -> None:
        """Set the faults of the next calls (`*`: the list of all). Raises InvalidFault.

        A sequence that is None stays as it is; after an error both do.
        """
        sequences = {
            call: read_sequence(faults, call=call, tag=tag)
            for call, faults in ((Call.CANCEL, cancel), (Call.LIST, list))
            if faults is not None
        }
        for call, scenarios in sequences.items():
            self._ems.script(exchange_id, call=call, scenarios=scenarios)
        self.place(exchange_id, orders)

    def calls(
        self, exchange_id: str | None = None, method: str | None = "POST"
    ) -> list[ReceivedCall]:
        """Return the calls received, oldest first."""
        return self._ems.calls.select(exchange_id=exchange_id, method=method)

    def open_ids(self, exchange_id: str) -> list[str]:
        """Return the client order ids of the orders that are really open."""
        return [order.client_order_id for order in self._ems.books[exchange_id].open_orders()]

    def really_open(self, exchange_id: str) -> int:
        """Return how many orders are really open, apart from what was answered."""
        return len(self.open_ids(exchange_id))

    def lives(self, exchange_id: str) -> list[Life]:
        """Return when each order of an exchange was placed, first listed and ended."""
        return self._ems.books[exchange_id].lives()

    def start_algorithm(
        self,
        exchange_ids: Sequence[str],
        *,
        orders: int = algorithm.ORDERS,
        interval_s: float = algorithm.INTERVAL_S,
        duration_s: float = algorithm.DURATION_S,
    ) -> None:
        """Let an algorithm trade on these exchanges, instead of the one that trades now.

        Raises InvalidFault for an interval of 0.
        """
        if interval_s <= 0:
            raise InvalidFault(f"interval_s: {interval_s:g} is not a pace")
        with self._algorithm_lock:
            if self._algorithm:
                self._algorithm.stop()
            self._algorithm = Algorithm(
                books=self._ems.books,
                exchange_ids=list(exchange_ids),
                orders=orders,
                interval_s=interval_s,
                duration_s=duration_s,
            )
            self._algorithm.start()

    def stop_algorithm(self) -> None:
        """Let it place no more orders; those that are open stay open."""
        with self._algorithm_lock:
            if self._algorithm:
                self._algorithm.stop()

    def algorithm_report(self) -> AlgorithmReport:
        """Return what has become of the orders on the exchanges of the latest algorithm."""
        latest = self._algorithm
        if latest is None:
            return AlgorithmReport()
        orders = [life for name in latest.exchange_ids for life in self.lives(name)]
        now = time.monotonic()
        life = lives.longest(orders, now=now)
        return AlgorithmReport(
            running=latest.is_running,
            exchange_ids=latest.exchange_ids,
            placed=latest.placed,
            alive=sum(life.ended_monotonic is None for life in orders),
            longest_listed_s=life.listed_s(now=now) if life else 0.0,
            longest_life=life,
        )

    def answer(self, request: Request) -> Outgoing:
        """Carry out one call of the interface."""
        try:
            result = self._carry_out(request)
        except InvalidFault as error:
            return answers.error(400, str(error))
        if result is None:
            return answers.error(404, f"no {request.method} {request.path}")
        return Outgoing(body=answers.encoded(result))

    def _carry_out(self, request: Request) -> object:
        """Return the result, None for an unknown call. Raises InvalidFault."""
        name = request.path.removeprefix(PREFIX)
        match request.method:
            case "GET":
                return self._read(name, request)
            case "POST":
                return self._change(name, Parameters(request.json_object()))
        return None

    def _read(self, name: str, request: Request) -> object:
        books = list(self._ems.books.values())
        exchange_id = request.parameter("exchange_id")
        match name:
            case "health":
                return {
                    "ready": True,
                    "exchanges": len(books),
                    "open_orders": sum(book.count() for book in books),
                    "calls": self._ems.calls.count(),
                }
            case "calls":
                calls = self.calls(exchange_id, request.parameter("method"))
                return [asdict(call) for call in calls]
            case "open":
                if exchange_id is None:
                    return {"counts": {book.exchange_id: book.count() for book in books}}
                ids = self.open_ids(exchange_id)
                return {"exchange_id": exchange_id, "count": len(ids), "ids": ids}
            case "lives":
                if not exchange_id:
                    raise InvalidFault("exchange_id is missing")
                return [asdict(life) for life in self.lives(exchange_id)]
            case "algorithm":
                return asdict(self.algorithm_report())
            case "demo":
                return [
                    asdict(exchange) | {"configured": exchange is not NOT_CONFIGURED}
                    for exchange in ALL_BOOKS
                ]
        return None

    def _change(self, name: str, parameters: Parameters) -> object:
        match name:
            case "script":
                return self._script(parameters)
            case "orders":
                count = parameters.whole("count", default=1, highest=_MAX_ORDERS)
                return {"ids": self.place(_exchange_id(parameters), count)}
            case "algorithm":
                return self._start_algorithm(parameters)
            case "algorithm/stop":
                self.stop_algorithm()
                return {}
            case "reset":
                self.reset()
                return {}
            case "forget_connections":
                return {"forgotten": self.forget_connections()}
        return None

    def _script(self, parameters: Parameters) -> object:
        exchange_id = _exchange_id(parameters)
        count = parameters.whole("orders", default=0, highest=_MAX_ORDERS)
        tag = parameters.text("tag")
        cancel, listing = parameters.value("cancel"), parameters.value("list")
        parameters.reject_unknown("script")
        self.script(exchange_id, cancel=cancel, list=listing, orders=count, tag=tag)
        return {"placed": count}

    def _start_algorithm(self, parameters: Parameters) -> object:
        exchange_ids = parameters.texts("exchange_ids")
        orders = parameters.whole("orders", default=algorithm.ORDERS, highest=_MAX_ORDERS)
        interval_s = parameters.seconds("interval_s", default=algorithm.INTERVAL_S)
        duration_s = parameters.seconds("duration_s", default=algorithm.DURATION_S)
        parameters.reject_unknown("algorithm")
        self.start_algorithm(
            exchange_ids, orders=orders, interval_s=interval_s, duration_s=duration_s
        )
        return {}


def _exchange_id(parameters: Parameters) -> str:
    if exchange_id := parameters.text("exchange_id"):
        return exchange_id
    raise InvalidFault("exchange_id is missing, or the body is not a JSON object")
