"""The simulator's own interface under `/_simulator/`: set faults, and read what happened."""

import json
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


class Control:
    """The operations for tests and operators, used in this process and over HTTP alike."""

    def __init__(
        self, ems: Ems, *, reset: Callable[[], None], forget_connections: Callable[[], int]
    ) -> None:
        self._ems = ems
        self._reset_everything = reset
        self._answers: Mapping[tuple[str, str], Callable[[Request], object]] = {
            ("GET", "health"): lambda _request: self._health(),
            ("GET", "calls"): self._calls,
            ("GET", "open"): self._open,
            ("GET", "demo"): lambda _request: self._demo(),
            ("POST", "script"): self._script,
            ("POST", "orders"): self._orders,
            ("POST", "reset"): lambda _request: self._reset(),
            ("POST", "forget_connections"): lambda _request: {"forgotten": forget_connections()},
        }

    def place(self, exchange_id: str, count: int) -> list[str]:
        """Place so many orders and return their client order ids."""
        return self._ems.books.of(exchange_id).place(count)

    def script(
        self,
        exchange_id: str,
        *,
        cancel: Sequence[Fault] | None,
        listing: Sequence[Fault] | None,
        tag: str,
    ) -> None:
        """Replace the sequences that are not None, or neither of them and raise InvalidFault."""
        sequences = {
            call: read_sequence(faults, call=call)
            for call, faults in ((Call.CANCEL, cancel), (Call.LIST, listing))
            if faults is not None
        }
        for call, scenarios in sequences.items():
            self._ems.scripts.put(exchange_id, call=call, scenarios=scenarios, tag=tag)

    def calls(self, *, exchange_id: str | None, method: str | None) -> list[ReceivedCall]:
        return self._ems.calls.select(exchange_id=exchange_id, method=method)

    def open_ids(self, exchange_id: str) -> list[str]:
        """Return the client order ids of the orders that are really open."""
        return [order.client_order_id for order in self._ems.books.of(exchange_id).open_orders()]

    def answer(self, request: Request) -> Outgoing:
        """Carry out one call of the interface."""
        act = self._answers.get((request.method, request.path.removeprefix(PREFIX)))
        if act is None:
            return _json(404, {"error": f"no {request.method} {request.path}"})
        try:
            return _json(200, act(request))
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

    def _demo(self) -> object:
        return [
            asdict(exchange) | {"configured": exchange is not NOT_CONFIGURED}
            for exchange in ALL_BOOKS
        ]

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
            listing=_faults(fields.get("list")),
            tag=parameters.text("tag"),
        )
        return {"placed": len(self.place(exchange_id, count))}

    def _orders(self, request: Request) -> object:
        parameters = Parameters(_fields(request))
        count = parameters.whole("count", default=1, highest=1_000_000)
        return {"ids": self.place(_exchange_id(parameters), count)}

    def _reset(self) -> object:
        self._reset_everything()
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
