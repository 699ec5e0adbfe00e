"""The EMS itself: acts on the books as a request and its scenario say, and makes the answer."""

import hmac
import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import replace

from killswitch.simulator import answers
from killswitch.simulator.books import Books
from killswitch.simulator.calls import Calls
from killswitch.simulator.http import Outgoing, Request
from killswitch.simulator.orders import Order, placed_history
from killswitch.simulator.scenarios import Call, Scenario

EVERY_EXCHANGE = "*"  # the name under which the list of all exchanges is scripted

_REQUIRED_TEXTS = ("exchange_id", "client_order_id", "side", "order_type", "time_in_force")
_REQUIRED_NUMBERS = ("price", "amount_order")


class Ems:
    """The state of the stand-in and its `/v1/` interface."""

    def __init__(self, *, key: str, cancel_seconds: tuple[float, float]) -> None:
        self.books = Books(cancel_seconds=cancel_seconds)
        self.calls = Calls()
        self._key = key
        self._scenarios: dict[tuple[str, Call], deque[Scenario]] = {}
        # One call at a time is decided and carried out, so that the record is in the true order.
        self._acting = threading.Lock()

    def answer(self, request: Request) -> Outgoing:
        """Record the call, act on it, and return the answer."""
        key = request.headers.get("x-coinapi-key", "").encode("latin-1", "replace")
        if self._key and not hmac.compare_digest(key, self._key.encode()):
            exchange_id = request.json_object().get("exchange_id")
            if not isinstance(exchange_id, str):
                exchange_id = request.parameter("exchange_id")
            self.calls.record(request, exchange_id=exchange_id, fault="wrong_key")
            return answers.error(401, "Invalid API key")
        match request.method, request.path:
            case "POST", "/v1/orders/cancel/all":
                return self._cancel_all(request)
            case "GET", "/v1/orders":
                return self._list(request)
            case "POST", "/v1/orders":
                return self._new_order(request)
        self.calls.record(request, exchange_id=None, fault="no_such_call")
        if request.path in {"/v1/orders", "/v1/orders/cancel/all"}:
            return answers.error(405, "Method not allowed")
        return answers.error(404, "Not found")

    def reset(self) -> None:
        """Remove all orders, scripts and calls."""
        with self._acting:
            self._scenarios.clear()
            self.books.clear()
            self.calls.clear()

    def script(self, exchange_id: str, *, call: Call, scenarios: Iterable[Scenario]) -> None:
        """Replace the scenarios of the next calls."""
        with self._acting:
            self._scenarios[exchange_id, call] = deque(scenarios)

    def _next_scenario(self, exchange_id: str, call: Call) -> Scenario:
        queue = self._scenarios.get((exchange_id, call))
        if not queue:
            return Scenario()
        return queue[0] if queue[0].repeat else queue.popleft()

    def _cancel_all(self, request: Request) -> Outgoing:
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        exchange_id = request.json_object().get("exchange_id")
        if media_type != "application/json" or not isinstance(exchange_id, str) or not exchange_id:
            self.calls.record(request, exchange_id=None, fault="invalid")
            if media_type != "application/json":
                return answers.error(415, "Unsupported media type")
            return answers.problem()
        with self._acting:
            scenario = self._next_scenario(exchange_id, Call.CANCEL)
            self.books[exchange_id].cancel(scenario.cancel_effect)
            self.calls.record(
                request,
                exchange_id=exchange_id,
                fault=scenario.name,
                carried_out=scenario.cancel_effect.carried_out,
                tag=scenario.tag,
            )
        reply = scenario.reply or answers.message
        return replace(reply(exchange_id), delivery=scenario.delivery)

    def _list(self, request: Request) -> Outgoing:
        exchange_id = request.parameter("exchange_id")
        with self._acting:
            scenario = self._next_scenario(exchange_id or EVERY_EXCHANGE, Call.LIST)
            self.calls.record(
                request, exchange_id=exchange_id, fault=scenario.name, tag=scenario.tag
            )
        if scenario.reply:
            answer = scenario.reply(exchange_id or "")
        else:
            answer = Outgoing(body=self._listing(exchange_id, scenario))
        return replace(answer, delivery=scenario.delivery)

    def _listing(self, exchange_id: str | None, scenario: Scenario) -> bytes:
        books = [self.books[exchange_id]] if exchange_id else list(self.books.values())
        delivery, grouped_by = scenario.delivery, scenario.grouped_by
        orders_of = [
            (
                book.exchange_id,
                book.listed_orders(sent_in_s=delivery.delay_s)
                if delivery.is_complete
                else book.open_orders(),
            )
            for book in books
        ]
        if not grouped_by:
            return _rows(order for _, orders in orders_of for order in orders)
        groups = []
        for name, orders in orders_of:
            if orders:
                head = answers.encoded({"type": "ORDER_EXEC_REPORT_SNAPSHOT", grouped_by: name})
                groups.append(head[:-1] + b', "data": ' + _rows(orders) + b"}")
        return b"[" + b",".join(groups) + b"]"

    def _new_order(self, request: Request) -> Outgoing:
        fields = request.json_object()
        faulty_names = [name for name in _REQUIRED_TEXTS if not isinstance(fields.get(name), str)]
        # Not `isinstance`: to Python True is a number.
        faulty_names += [
            name for name in _REQUIRED_NUMBERS if type(fields.get(name)) not in {int, float}
        ]
        exchange_id = None if "exchange_id" in faulty_names else fields["exchange_id"]
        fault = "invalid" if faulty_names else "ok"
        self.calls.record(request, exchange_id=exchange_id, fault=fault)
        if faulty_names:
            return answers.problem()
        order = Order(
            exchange_id=fields["exchange_id"],
            client_order_id=fields["client_order_id"],
            exchange_order_id=str(self.calls.count()),
            symbol_id_exchange=str(fields.get("symbol_id_exchange") or ""),
            symbol_id_coinapi=str(fields.get("symbol_id_coinapi") or ""),
            side=fields["side"],
            price=float(fields["price"]),
            amount_order=float(fields["amount_order"]),
            time_in_force=fields["time_in_force"],
            status_history=placed_history(),
        )
        self.books[order.exchange_id].add(order)
        return Outgoing(body=order.report.encode())


def _rows(orders: Iterable[Order]) -> bytes:
    return ("[" + ",".join([order.report for order in orders]) + "]").encode()
