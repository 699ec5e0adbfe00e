"""The interface of a simulator that runs in another process."""

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import ProxyHandler, Request, build_opener

from killswitch.simulator.algorithm import AlgorithmReport
from killswitch.simulator.calls import ReceivedCall
from killswitch.simulator.faults import Fault
from killswitch.simulator.lives import Life
from killswitch.simulator.parameters import InvalidFault

_TIMEOUT_S = 30.0


class SimulatorRemote:
    """The same methods as the in-process simulator, over HTTP."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._open_url = build_opener(ProxyHandler({})).open

    def place(self, exchange_id: str, count: int) -> list[str]:
        """Place this many orders and return their client order ids."""
        ids: list[str] = self._post("orders", exchange_id=exchange_id, count=count)["ids"]
        return ids

    def script(
        self,
        exchange_id: str,
        *,
        cancel: Sequence[Fault] | None = None,
        list: Sequence[Fault] | None = None,  # noqa: A002 - the name it has in the interface
        orders: int = 0,
        tag: str = "",
    ) -> None:
        """Set the faults of the next calls (`*`: the list of all). Raises InvalidFault."""
        self._post(
            "script", exchange_id=exchange_id, cancel=cancel, list=list, orders=orders, tag=tag
        )

    def calls(
        self, exchange_id: str | None = None, method: str | None = "POST"
    ) -> list[ReceivedCall]:
        """Return the calls received, oldest first."""
        filters = {"exchange_id": exchange_id, "method": method}
        query = {name: value for name, value in filters.items() if value is not None}
        return [ReceivedCall(**call) for call in self._get("calls", query)]

    def open_ids(self, exchange_id: str) -> list[str]:
        """Return the client order ids of the orders that are really open."""
        ids: list[str] = self._get("open", {"exchange_id": exchange_id})["ids"]
        return ids

    def really_open(self, exchange_id: str) -> int:
        """Return how many orders are really open, apart from what was answered."""
        return len(self.open_ids(exchange_id))

    def lives(self, exchange_id: str) -> list[Life]:
        """Return when each order of an exchange was placed, first listed and ended."""
        return [Life(**life) for life in self._get("lives", {"exchange_id": exchange_id})]

    def start_algorithm(self, exchange_ids: Sequence[str], **parameters: float) -> None:
        """Let an algorithm trade on these exchanges. Raises InvalidFault."""
        self._post("algorithm", exchange_ids=list(exchange_ids), **parameters)

    def stop_algorithm(self) -> None:
        """Let it place no more orders."""
        self._post("algorithm/stop")

    def algorithm_report(self) -> AlgorithmReport:
        """Return what has become of the orders of the latest algorithm."""
        report = self._get("algorithm", {})
        life = report.pop("longest_life")
        return AlgorithmReport(**report, longest_life=Life(**life) if life else None)

    def reset(self) -> None:
        """Remove all orders, scripts and calls."""
        self._post("reset")

    def forget_connections(self) -> int:
        """Drop every connection as a lost route does: no close, no reset, no answer."""
        return int(self._post("forget_connections")["forgotten"])

    def _get(self, name: str, query: Mapping[str, str]) -> Any:
        return self._request(f"{name}?{urlencode(query)}", body=None)

    def _post(self, name: str, **fields: object) -> Any:
        return self._request(name, body=json.dumps(fields).encode())

    def _request(self, name: str, *, body: bytes | None) -> Any:
        request = Request(f"{self.url}/_simulator/{name}", data=body)
        try:
            with self._open_url(request, timeout=_TIMEOUT_S) as response:
                return json.load(response)
        except HTTPError as error:
            with error:
                raise InvalidFault(error.read().decode(errors="replace")) from None
