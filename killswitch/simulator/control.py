"""The simulator's own interface under `/_simulator/`: set faults, and read what happened."""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict

from killswitch.simulator import payloads
from killswitch.simulator.calls import ReceivedCall
from killswitch.simulator.demo import ALL_BOOKS, NOT_CONFIGURED
from killswitch.simulator.ems import Ems
from killswitch.simulator.faults import Fault, read_sequence
from killswitch.simulator.http import Outgoing, Request
from killswitch.simulator.parameters import InvalidFault, Parameters
from killswitch.simulator.scenarios import Call

PREFIX = "/_simulator/"
_SCRIPT_FIELDS = {"exchange_id", "cancel", "list", "orders", "tag"}


class Control(ABC):
    """The operations for tests and operators; `answer` makes them available over HTTP."""

    def __init__(self, ems: Ems) -> None:
        self._ems = ems
        self._operations: Mapping[tuple[str, str], Callable[[Request], object]] = {
            ("GET", "health"): lambda _request: self._health(),
            ("GET", "calls"): self._calls,
            ("GET", "open"): self._open,
            ("GET", "demo"): lambda _request: [
                asdict(exchange) | {"configured": exchange is not NOT_CONFIGURED}
                for exchange in ALL_BOOKS
            ],
            ("POST", "script"): self._script,
            ("POST", "orders"): self._orders,
            ("POST", "reset"): lambda _request: self._reset(),
            ("POST", "forget_connections"): lambda _request: {
                "forgotten": self.forget_connections()
            },
        }

    @abstractmethod
    def reset(self) -> None:
        """Remove all orders, scripts and calls; a demonstration starts over."""

    @abstractmethod
    def forget_connections(self) -> int:
        """Drop every connection as a lost route does: no close, no reset, no answer."""

    def place(self, exchange_id: str, count: int) -> list[str]:
        """Place so many orders and return their client order ids."""
        return self._ems.books.of(exchange_id).place(count)

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
            call: read_sequence(faults, call=call)
            for call, faults in ((Call.CANCEL, cancel), (Call.LIST, list))
            if faults is not None
        }
        for call, scenarios in sequences.items():
            self._ems.scripts.put(exchange_id, call=call, scenarios=scenarios, tag=tag)
        self.place(exchange_id, orders)

    def calls(
        self, exchange_id: str | None = None, method: str | None = "POST"
    ) -> list[ReceivedCall]:
        """Return the calls received, oldest first."""
        return self._ems.calls.select(exchange_id=exchange_id, method=method)

    def open_ids(self, exchange_id: str) -> list[str]:
        """Return the client order ids of the orders that are really open."""
        return [order.client_order_id for order in self._ems.books.of(exchange_id).open_orders()]

    def really_open(self, exchange_id: str) -> int:
        """Return how many orders are really open, apart from what was answered."""
        return len(self.open_ids(exchange_id))

    def answer(self, request: Request) -> Outgoing:
        """Carry out one call of the interface."""
        operation = self._operations.get((request.method, request.path.removeprefix(PREFIX)))
        if operation is None:
            return _json(404, {"error": f"no {request.method} {request.path}"})
        try:
            return _json(200, operation(request))
        except InvalidFault as error:
            return _json(400, {"error": str(error)})

    def _health(self) -> object:
        books = self._ems.books.all()
        return {
            "ready": True,
            "exchanges": len(books),
            "open_orders": sum(book.count() for book in books),
            "calls": self._ems.calls.count(),
        }

    def _calls(self, request: Request) -> object:
        exchange_id, method = request.parameter("exchange_id"), request.parameter("method")
        return [asdict(call) for call in self.calls(exchange_id=exchange_id, method=method)]

    def _open(self, request: Request) -> object:
        exchange_id = request.parameter("exchange_id")
        if exchange_id is None:
            return {"counts": {book.exchange_id: book.count() for book in self._ems.books.all()}}
        ids = self.open_ids(exchange_id)
        return {"exchange_id": exchange_id, "count": len(ids), "ids": ids}

    def _script(self, request: Request) -> object:
        fields = _fields(request)
        if unknown := set(fields) - _SCRIPT_FIELDS:
            raise InvalidFault(f"no such field: {', '.join(sorted(unknown)):.200}")
        parameters = Parameters(fields)
        exchange_id = _exchange_id(parameters)
        count = parameters.whole("orders", default=0, highest=1_000_000)
        self.script(
            exchange_id,
            cancel=_faults(fields.get("cancel")),
            list=_faults(fields.get("list")),
            orders=count,
            tag=parameters.text("tag"),
        )
        return {"placed": count}

    def _orders(self, request: Request) -> object:
        parameters = Parameters(_fields(request))
        count = parameters.whole("count", default=1, highest=1_000_000)
        return {"ids": self.place(_exchange_id(parameters), count)}

    def _reset(self) -> object:
        self.reset()
        return {}


def _fields(request: Request) -> Mapping[str, object]:
    try:
        fields = json.loads(request.body)
    except (ValueError, RecursionError) as error:
        raise InvalidFault(f"the body is not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise InvalidFault("the body is not a JSON object")
    return fields


def _exchange_id(parameters: Parameters) -> str:
    exchange_id = parameters.text("exchange_id")
    if not exchange_id:
        raise InvalidFault("exchange_id is missing")
    return exchange_id


def _faults(value: object) -> Sequence[Fault] | None:
    if value is not None and not isinstance(value, list):
        raise InvalidFault(f"{value!r:.100} is not a list of faults")
    return value


def _json(status: int, value: object) -> Outgoing:
    return Outgoing(status=status, body=payloads.encoded(value))
