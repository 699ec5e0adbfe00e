"""The simulator as a server: a listener, and a thread for each connection."""

import contextlib
import socket
import threading
from collections.abc import Callable
from functools import partial
from typing import Self

from killswitch.simulator.control import PREFIX, Control
from killswitch.simulator.demo import keep_trading
from killswitch.simulator.ems import Ems
from killswitch.simulator.http import Connection, Outgoing

_BACKLOG = 1024
_ACCEPT_TIMEOUT_S = 0.05  # how soon the listener notices that it is to stop
_JOIN_TIMEOUT_S = 5.0


class Simulator(Control):
    """A stand-in EMS in this process. Its state survives `stop`, so it can start again."""

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        key: str = "",
        demo: bool = False,
        cancel_seconds: tuple[float, float] = (0.05, 0.3),
    ) -> None:
        super().__init__(Ems(key=key, cancel_seconds=cancel_seconds), demo=demo)
        self._host = host
        self._port = 0
        self._stopping = threading.Event()
        self._listener: socket.socket | None = None
        self._threads: list[threading.Thread] = []
        self._connections: dict[Connection, threading.Thread] = {}
        self._lock = threading.Lock()

    def start(self, port: int = 0) -> Self:
        """Listen on the port, any free one for 0. Raises OSError when the port is taken."""
        self._listener = socket.create_server((self._host, port), backlog=_BACKLOG)
        self._listener.settimeout(_ACCEPT_TIMEOUT_S)
        self._port = self._listener.getsockname()[1]
        self._stopping = threading.Event()
        self._threads = [_thread("listener", partial(self._accept, self._listener))]
        if self._is_demo:
            trade = partial(keep_trading, self._ems.books, stopping=self._stopping)
            self._threads.append(_thread("trader", trade))
        for thread in self._threads:
            thread.start()
        return self

    def stop(self) -> None:
        """Close every connection, silent ones too, and end every thread."""
        self._stopping.set()
        self.stop_algorithm()
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

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"http://{self._host}:{self._port}"

    def forget_connections(self) -> int:
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
                thread = _thread("connection", partial(self._serve, connection))
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
                body = str(error).encode()
                connection.send(Outgoing(status=400, content_type="text/plain", body=body))
                return
            if request is None:
                return
            if connection.deaf:
                connection.swallow()
                return
            api = self if request.path.startswith(PREFIX) else self._ems
            is_open = connection.send(api.answer(request)) and request.keep_alive


def _thread(name: str, target: Callable[[], None]) -> threading.Thread:
    return threading.Thread(target=target, name=f"simulator-{name}", daemon=True)
