"""Browser tabs that poll once a second, until standard input is closed.

    python -m bench.open_pages PORT COUNT COOKIES

Prints "open" once each tab has polled, and at the end the seconds of all polls as JSON.
"""

import http.client
import json
import random
import re
import sys
import threading
import time
from urllib.parse import urlencode

KNOWN = re.compile(rb'name="known" value="([0-9]+)"')
INTERVAL_S = 1.0


class Tab:
    """One console. As in a browser, it asks for what is new since its last answer."""

    def __init__(self, *, port: int, cookies: str) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.headers = {"Cookie": cookies, "HX-Request": "true"}
        self.known = b"0"
        self.polls_s: list[float] = []

    def poll(self) -> None:
        query = urlencode({"known": self.known.decode(), "show": "console"})
        started_at = time.monotonic()
        path = f"/poll/?{query}"
        try:
            self.connection.request("GET", path, headers=self.headers)
            reply = self.connection.getresponse()
        except (http.client.RemoteDisconnected, ConnectionError):
            # The server has closed an idle connection: a browser opens another one at once.
            self.connection.close()
            self.connection.request("GET", path, headers=self.headers)
            reply = self.connection.getresponse()
        body = reply.read()
        self.polls_s.append(time.monotonic() - started_at)
        if reply.status == http.client.OK and (known := KNOWN.search(body)):
            self.known = known[1]
        elif reply.status not in {http.client.OK, http.client.NO_CONTENT}:
            sys.exit(f"a poll was answered with {reply.status}")

    def keep_polling(self, stop: threading.Event) -> None:
        """Poll at moments of its own, as tabs that were opened at different times."""
        while not stop.wait(INTERVAL_S):
            self.poll()


def main() -> None:
    """Open the tabs, poll until standard input ends, and print the seconds of each poll."""
    port, count, cookies = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    tabs = [Tab(port=port, cookies=cookies) for _ in range(count)]
    stop = threading.Event()
    threads = []
    for tab in tabs:
        tab.poll()
        tab.polls_s.clear()
        threads.append(threading.Thread(target=tab.keep_polling, args=[stop]))
    for thread in threads:
        time.sleep(random.random() * INTERVAL_S / count)
        thread.start()
    print("open", flush=True)
    sys.stdin.read()
    stop.set()
    for thread in threads:
        thread.join()
    print(json.dumps([seconds for tab in tabs for seconds in tab.polls_s]))


if __name__ == "__main__":
    main()
