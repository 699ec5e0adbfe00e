"""The simulator's own interface under `/_simulator/`: set faults, and read what happened."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict

from killswitch.simulator import answers
from killswitch.simulator.calls import ReceivedCall
from killswitch.simulator.demo import ALL_BOOKS, NOT_CONFIGURED, open_demo
from killswitch.simulator.ems import Ems
from killswitch.simulator.faults import Fault, read_sequence
from killswitch.simulator.http import Outgoing, Request
from killswitch.simulator.parameters import InvalidFault, Parameters
from killswitch.simulator.scenarios import Call

PREFIX = "/_simulator/"
_MAX_ORDERS = 1_000_000


class Control(ABC):
    """The operations for tests and operators; `answer` makes them available over HTTP."""

    def __init__(self, ems: Ems, *, demo: bool) -> None:
        self._ems = ems
        self._is_demo = demo
        if demo:
            self.reset()

    @abstractmethod
    def forget_connections(self) -> int:
        """Drop every connection as a lost route does: no close, no reset, no answer."""

    def reset(self) -> None:
        """Remove all orders, scripts and calls; a demonstration starts over."""
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
        books = list(self._ems.books.values())
        match request.method, request.path.removeprefix(PREFIX):
            case "GET", "health":
                return {
                    "ready": True,
                    "exchanges": len(books),
                    "open_orders": sum(book.count() for book in books),
                    "calls": self._ems.calls.count(),
                }
            case "GET", "calls":
                exchange_id, method = request.parameter("exchange_id"), request.parameter("method")
                return [asdict(call) for call in self.calls(exchange_id, method)]
            case "GET", "open":
                if (exchange_id := request.parameter("exchange_id")) is None:
                    return {"counts": {book.exchange_id: book.count() for book in books}}
                ids = self.open_ids(exchange_id)
                return {"exchange_id": exchange_id, "count": len(ids), "ids": ids}
            case "GET", "demo":
                return [
                    asdict(exchange) | {"configured": exchange is not NOT_CONFIGURED}
                    for exchange in ALL_BOOKS
                ]
            case "POST", "script":
                return self._script(Parameters(request.json_object()))
            case "POST", "orders":
                parameters = Parameters(request.json_object())
                count = parameters.whole("count", default=1, highest=_MAX_ORDERS)
                return {"ids": self.place(_exchange_id(parameters), count)}
            case "POST", "reset":
                self.reset()
                return {}
            case "POST", "forget_connections":
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


def _exchange_id(parameters: Parameters) -> str:
    if exchange_id := parameters.text("exchange_id"):
        return exchange_id
    raise InvalidFault("exchange_id is missing, or the body is not a JSON object")
