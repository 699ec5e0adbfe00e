"""The simulator as a server: a listener, and a thread for each connection."""

import contextlib
import socket
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from killswitch.simulator.calls import ReceivedCall
from killswitch.simulator.client import SimulatorRemote
from killswitch.simulator.control import PREFIX, Control
from killswitch.simulator.demo import Trader, open_demo
from killswitch.simulator.ems import Ems
from killswitch.simulator.faults import Fault
from killswitch.simulator.http import BadRequest, Connection, Outgoing

__all__ = ["Simulator", "SimulatorRemote"]

_BACKLOG = 1024
_ACCEPT_TIMEOUT_S = 0.05  # how soon the listener notices that it is to stop
_JOIN_TIMEOUT_S = 5.0


class Simulator:
    """A stand-in EMS in this process. Its state survives `stop`, so it can start again."""

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        key: str = "",
        demo: bool = False,
        cancel_seconds: tuple[float, float] = (0.05, 0.3),
    ) -> None:
        self._host = host
        self._demo = demo
        self._port = 0
        self._ems = Ems(key=key, cancel_seconds=cancel_seconds)
        self._control = Control(
            self._ems, reset=self.reset, forget_connections=self.forget_connections
        )
        self._stopping = threading.Event()
        self._listener: socket.socket | None = None
        self._threads: list[threading.Thread] = []
        self._connections: dict[Connection, threading.Thread] = {}
        self._lock = threading.Lock()
        if demo:
            self.reset()

    def start(self, port: int = 0) -> Self:
        """Listen on the port, any free one for 0. Raises OSError when the port is taken."""
        listener = socket.create_server((self._host, port), backlog=_BACKLOG)
        listener.settimeout(_ACCEPT_TIMEOUT_S)
        self._listener = listener
        self._port = listener.getsockname()[1]
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(
                target=self._accept, args=(listener,), name="simulator-listener", daemon=True
            )
        ]
        if self._demo:
            self._threads.append(Trader(self._ems.books, stopping=self._stopping))
        for thread in self._threads:
            thread.start()
        return self

    def stop(self) -> None:
        """Close every connection, silent ones too, and end every thread."""
        self._stopping.set()
        if self._listener:
            # Wakes the listening thread on Linux; elsewhere it soon wakes by itself.
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(_JOIN_TIMEOUT_S)
        with self._lock:
            connections = dict(self._connections)
        for connection in connections:
            connection.abort()
        for thread in connections.values():
            thread.join(_JOIN_TIMEOUT_S)
        self._threads = []

    def __enter__(self) -> Self:
        return self if self._threads else self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"http://{self._host}:{self._port}"

    def place(self, exchange_id: str, count: int) -> list[str]:
        """Place so many orders and return their client order ids."""
        return self._control.place(exchange_id, count)

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
        self._control.script(exchange_id, cancel=cancel, listing=list, tag=tag)
        self.place(exchange_id, orders)

    def calls(
        self, exchange_id: str | None = None, method: str | None = "POST"
    ) -> list[ReceivedCall]:
        """Return the calls received, oldest first."""
        return self._control.calls(exchange_id=exchange_id, method=method)

    def open_ids(self, exchange_id: str) -> list[str]:
        """Return the client order ids of the orders that are really open."""
        return self._control.open_ids(exchange_id)

    def really_open(self, exchange_id: str) -> int:
        """Return how many orders are really open, apart from what was answered."""
        return len(self.open_ids(exchange_id))

    def reset(self) -> None:
        """Remove all orders, scripts and calls; a demonstration starts over."""
        self._ems.reset()
        if self._demo:
            open_demo(self._ems.books, script=self._control.script)

    def forget_connections(self) -> int:
        """Drop every connection as a lost route does: no close, no reset, no answer."""
        with self._lock:
            for connection in self._connections:
                connection.deaf = True
            return len(self._connections)

    def _accept(self, listener: socket.socket) -> None:
        with listener:
            while not self._stopping.is_set():
                try:
                    client, _ = listener.accept()
                except TimeoutError:
                    continue
                except OSError:
                    # For example, no file descriptor is left: let some connections end first.
                    self._stopping.wait(_ACCEPT_TIMEOUT_S)
                    continue
                connection = Connection(client, stopping=self._stopping)
                thread = threading.Thread(
                    target=self._serve, args=(connection,), name="simulator-connection", daemon=True
                )
                with self._lock:
                    self._connections[connection] = thread
                thread.start()

    def _serve(self, connection: Connection) -> None:
        try:
            with contextlib.suppress(OSError):
                self._converse(connection)
        finally:
            connection.close()
            with self._lock:
                del self._connections[connection]

    def _converse(self, connection: Connection) -> None:
        is_open = True
        while is_open:
            try:
                request = connection.read_request()
            except ValueError as error:
                reason = str(error) if isinstance(error, BadRequest) else "unreadable"
                body = reason.encode()
                connection.send(Outgoing(status=400, content_type="text/plain", body=body))
                return
            if request is None:
                return
            if connection.deaf:
                connection.swallow()
                return
            api = self._control if request.path.startswith(PREFIX) else self._ems
            is_open = connection.send(api.answer(request)) and request.keep_alive
