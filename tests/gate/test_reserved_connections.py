"""A cancel may use the database connections that are kept from all other requests."""

import asyncio
from typing import Any

from killswitch.gate.application import Gate
from killswitch.runtime.kept_connections import _this_thread


def test_the_gate_lets_a_cancel_use_reserved_connections_and_no_other_request() -> None:
    used: dict[str, bool] = {}

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        request = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}"
        used[request] = _this_thread.may_use_reserved
        start_response("200 OK", [])
        return []

    async def serve(method: str, path: str) -> None:
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [],
            "server": ("127.0.0.1", 8000),
            "client": ("127.0.0.1", 50000),
        }

        async def receive() -> dict[str, Any]:
            await asyncio.sleep(60)
            return {"type": "http.disconnect"}

        async def send(_message: dict[str, Any]) -> None:
            pass

        await gate(scope, receive, send)

    gate = Gate(application)
    requests = [("POST", "/cancel-all/"), ("GET", "/cancel-all/"), ("GET", "/audit/")]
    for method, path in [*requests, *requests]:  # the threads of each lane are used again
        asyncio.run(serve(method, path))
    assert used == {"POST /cancel-all/": True, "GET /cancel-all/": False, "GET /audit/": False}
