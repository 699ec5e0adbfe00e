"""One readable log: the lines of all programs, each with the name of its program."""

import io
import os
import queue
import threading

MAX_LINE_BYTES = 64 * 1024  # bytes of a line that never ends
MAX_BACKLOG_LINES = 10_000  # lines


class LogMultiplexer:
    """Writes lines to a file descriptor from a thread of its own.

    A terminal that was stopped, or a pipe that nobody reads, would otherwise block the supervisor,
    and nothing that dies would be started again. Lines that find no room are counted and dropped.
    """

    def __init__(self, *, descriptor: int) -> None:
        self._descriptor = descriptor
        self._unfinished: dict[str, bytes] = {}
        self._lines: queue.Queue[bytes | None] = queue.Queue(MAX_BACKLOG_LINES)
        self._dropped = 0
        self._thread = threading.Thread(target=self._write_lines, name="console", daemon=True)
        self._thread.start()

    def feed(self, name: str, data: bytes) -> None:
        """Take output as it comes, in pieces of any size; whole lines are written."""
        *lines, rest = (self._unfinished.pop(name, b"") + data).split(b"\n")
        if len(rest) > MAX_LINE_BYTES:
            lines, rest = [*lines, rest], b""
        if rest:
            self._unfinished[name] = rest
        for line in lines:
            self._put(f"{name:<9} | ".encode() + line)

    def say(self, text: str) -> None:
        """Write text of our own, for the person who started the system."""
        for line in text.splitlines():
            self._put(line.encode())

    def stream(self, name: str) -> "Stream":
        """A text file whose lines carry this name."""
        return Stream(console=self, name=name)

    def close(self, *, seconds: float) -> None:
        """Write what is left, for at most so long."""
        for name in tuple(self._unfinished):
            self.feed(name, b"\n")
        self._put(None)
        self._thread.join(seconds)

    def _put(self, line: bytes | None) -> None:
        try:
            if self._dropped:
                self._lines.put_nowait(b"(%d lines are missing here)" % self._dropped)
                self._dropped = 0
            self._lines.put_nowait(line)
        except queue.Full:
            self._dropped += 1

    def _write_lines(self) -> None:
        while (line := self._lines.get()) is not None:
            rest = line + b"\n"
            try:
                while rest:
                    rest = rest[os.write(self._descriptor, rest) :]
            except OSError:
                continue  # nobody reads any more; the system goes on


class Stream(io.TextIOBase):
    """What this process itself writes to standard output and error."""

    def __init__(self, *, console: LogMultiplexer, name: str) -> None:
        super().__init__()
        self._console = console
        self._name = name

    def write(self, text: str) -> int:
        self._console.feed(self._name, text.encode(errors="backslashreplace"))
        return len(text)
