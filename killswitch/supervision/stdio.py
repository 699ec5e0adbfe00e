"""Standard input, output and error that cannot change what a command's exit code says.

A closed descriptor would be given to the next file that is opened, such as the database; a full
disk or a reader that has gone would end a command with a traceback, or with 120 at its very end.
"""

import io
import os
import sys
from typing import TextIO


class LossyTextIO(io.TextIOWrapper):
    """What cannot be written is dropped, and everything after it."""

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError:
            self._drop()
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError:
            self._drop()

    def _drop(self) -> None:
        # What is buffered goes there too, instead of failing again with each flush.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)


def make_stdio_safe() -> None:
    """Once, before anything else is opened."""
    for descriptor in (0, 1, 2):
        if not _is_open(descriptor):
            os.open(os.devnull, os.O_RDWR)  # the lowest that is free: this one
    sys.stdin = sys.stdin or open(0)  # noqa: SIM115
    sys.stdout = _forgiving(sys.stdout, descriptor=1)
    sys.stderr = _forgiving(sys.stderr, descriptor=2)


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _forgiving(stream: TextIO | None, *, descriptor: int) -> LossyTextIO:
    if not isinstance(stream, io.TextIOWrapper):  # None: it was closed
        return LossyTextIO(open(descriptor, "wb"), errors="backslashreplace")
    encoding, errors, lines = stream.encoding, stream.errors, stream.line_buffering
    at_once = stream.write_through
    return LossyTextIO(
        stream.detach(), encoding, errors, line_buffering=lines, write_through=at_once
    )
