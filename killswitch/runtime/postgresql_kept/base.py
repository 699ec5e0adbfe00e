"""Django's PostgreSQL backend, with few connections that are kept (`kept_connections`).

Not psycopg's own pool: it connects in a thread of its own, so that a request for a connection waits
for its whole timeout while the server is down, and a cancel by break glass would wait with it. Here
a request opens its connection itself and learns at once that it is refused.
"""

import select
from typing import Any

import psycopg
from django.db.backends.postgresql import base
from psycopg.pq import TransactionStatus

from killswitch.runtime.deadlines import Deadline
from killswitch.runtime.kept_connections import KeepingDatabaseWrapper

# A server that hangs answers nothing: how long a request waits to learn that.
MAX_ANSWER_S = 0.2
# Of one process. A server has 100 sessions by default, and a host has five processes.
MAX_OPEN = 12
MAX_RESERVED = 4


class DatabaseWrapper(KeepingDatabaseWrapper, base.DatabaseWrapper):
    """A connection that is asked for a sign of life before it is used again."""

    max_open = MAX_OPEN
    max_reserved = MAX_RESERVED
    _last_address = ("", "")  # of the server that was reached last, if there are several

    def open_connection(self, conn_params: dict[str, Any]) -> Any:
        """Try the servers in their order, but the one that was reached last before the others.

        After a failover the machine of the first one may answer nothing, and each new connection
        would wait for it again.
        """
        hosts, ports = (str(conn_params.get(name, "")).split(",") for name in ("host", "port"))
        has_several = len(hosts) == len(ports) > 1
        if has_several:
            addresses = sorted(
                zip(hosts, ports, strict=True),
                key=lambda address: address != DatabaseWrapper._last_address,
            )
            conn_params = conn_params | {
                "host": ",".join(host for host, _ in addresses),
                "port": ",".join(port for _, port in addresses),
            }
        connection = base.DatabaseWrapper.get_new_connection(self, conn_params)
        if has_several:
            DatabaseWrapper._last_address = (connection.info.host, str(connection.info.port))
        self.opened_on = conn_params["dbname"]
        return connection

    def still_works(self, connection: Any, *, opened_on: Any) -> bool:  # noqa: ARG002 - the address is that of the settings
        """Return whether the server answers an empty query, which it neither plans nor logs."""
        try:
            _exchange_empty_query(connection.pgconn)
        except (psycopg.Error, TimeoutError):
            return False
        return bool(connection.pgconn.transaction_status == TransactionStatus.IDLE)

    def is_idle(self) -> bool:
        return bool(self.connection.pgconn.transaction_status == TransactionStatus.IDLE)

    def too_many_open(self, *, hangs: bool) -> Exception:
        error = super().too_many_open(hangs=hangs)
        return error if hangs else psycopg.errors.TooManyConnections(str(error))


def _exchange_empty_query(server: Any) -> None:
    """Send a query and read its answer. Raises `psycopg.Error`, or `TimeoutError` without one."""
    deadline = Deadline(MAX_ANSWER_S)
    poll = select.poll()
    poll.register(server.socket, select.POLLIN)
    server.send_query(b"")
    server.flush()
    while True:
        while server.is_busy():
            if not poll.poll(1000 * deadline.seconds_left):
                raise TimeoutError
            server.consume_input()
        if server.get_result() is None:
            return
