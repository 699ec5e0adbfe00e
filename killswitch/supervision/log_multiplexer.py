"""One readable log: the lines of all programs, each with the name of its program."""

import io
import os
import queue
import threading

MAX_LINE_BYTES = 64 * 1024
MAX_BACKLOG_LINES = 10_000


class LogMultiplexer:
    """Writes lines to a file descriptor from a thread of its own; any thread may add lines.

    A terminal that was stopped, or a pipe without a reader, would otherwise block the programs, and
    a cancel with them. Lines that do not fit into the backlog are counted and dropped.
    """

    def __init__(self, *, descriptor: int) -> None:
        self._descriptor = descriptor
        self._unfinished: dict[str, bytes] = {}
        self._backlog: queue.Queue[bytes | None] = queue.Queue(MAX_BACKLOG_LINES)
        self._dropped = 0
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._write_lines, name="log", daemon=True)
        self._thread.start()

    def feed(self, name: str, data: bytes) -> None:
        """Add output of a program, in pieces of any size; whole lines are written."""
        with self._lock:
            *lines, rest = (self._unfinished.pop(name, b"") + data).split(b"\n")
            if len(rest) > MAX_LINE_BYTES:
                lines, rest = [*lines, rest], b""
            if rest:
                self._unfinished[name] = rest
            for line in lines:
                self._put(f"{name:<9} | ".encode() + line)

    def write_lines(self, text: str) -> None:
        """Add lines without a name, for the operator who started the system."""
        with self._lock:
            for line in text.splitlines():
                self._put(line.encode())

    def close(self, *, timeout_s: float) -> None:
        """Write the backlog, for at most `timeout_s`."""
        for name in tuple(self._unfinished):
            self.feed(name, b"\n")
        with self._lock:
            self._put(None)
        self._thread.join(timeout_s)

    def _put(self, line: bytes | None) -> None:
        try:
            if self._dropped:
                self._backlog.put_nowait(b"(%d lines are missing here)" % self._dropped)
                self._dropped = 0
            self._backlog.put_nowait(line)
        except queue.Full:
            self._dropped += 1

    def _write_lines(self) -> None:
        while (line := self._backlog.get()) is not None:
            rest = line + b"\n"
            try:
                while rest:
                    rest = rest[os.write(self._descriptor, rest) :]
            except OSError:
                continue  # the reader has gone or the disk is full; the system goes on


class Stream(io.TextIOBase):
    """A text file that adds its lines to the log, under the name of this process."""

    def __init__(self, multiplexer: LogMultiplexer, *, name: str) -> None:
        super().__init__()
        self._multiplexer = multiplexer
        self._name = name

    def write(self, text: str) -> int:
        self._multiplexer.feed(self._name, text.encode(errors="backslashreplace"))
        return len(text)
