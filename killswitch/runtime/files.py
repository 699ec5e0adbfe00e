"""Files that several processes use: locks, secrets written once, lines that survive a crash."""

import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, BinaryIO

from killswitch.runtime.deadlines import wait_until

OWNER_ONLY = 0o600
LOCK_POLL_INTERVAL_S = 0.01


def lock_file(
    file: int | IO[bytes], *, timeout_s: float = 0.0, pause_s: float = LOCK_POLL_INTERVAL_S
) -> bool:
    """Return True once this open file holds the lock, False when another did not let go in time.

    Closing the file, or the end of the process, releases it. Raises OSError.
    """

    def is_locked() -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    return wait_until(is_locked, timeout_s=timeout_s, pause_s=pause_s)


@contextmanager
def open_locked(path: Path, *, timeout_s: float) -> Iterator[BinaryIO]:
    """Open a file for reading and appending, alone; it is created for this user only.

    Raises TimeoutError when another process holds it for longer, otherwise OSError.
    """
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, OWNER_ONLY)
    with os.fdopen(handle, "a+b") as file:
        if not lock_file(file, timeout_s=timeout_s):
            raise TimeoutError(f"another process has held {path.name} for {timeout_s:g} s")
        yield file


def open_regular(path: Path) -> BinaryIO:
    """Open a file for reading; a pipe or device in its place is not waited for. Raises OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, f"{path.name} is not a regular file")
    return os.fdopen(handle, "rb")


def read_regular(path: Path) -> bytes:
    """Return the content of a file that `open_regular` opens. Raises OSError."""
    with open_regular(path) as file:
        return file.read()


def append_line(file: BinaryIO, line: bytes) -> None:
    """Append a line to a file from `open_locked`; it is on the disk when this returns.

    Half a line that a crash left stays, as a line of its own.
    """
    size = file.seek(0, os.SEEK_END)
    if size:
        file.seek(size - 1)
    is_torn = bool(size) and file.read(1) != b"\n"
    file.write((b"\n" if is_torn else b"") + line + b"\n")
    file.flush()
    os.fsync(file.fileno())


def read_or_create(path: Path, make: Callable[[], bytes]) -> bytes:
    """Return the file's content, which `make` gives when there is no file yet.

    Whole or not at all, readable for this user only. Of several processes that create it at once
    the first one wins, and all return its content. Raises OSError.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        draft = _write_draft(path, make())
    try:
        # A link never replaces a file, so no secret that another process already uses is lost.
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
    return path.read_bytes()


def replace_file(path: Path, content: bytes) -> None:
    """Give the file this content, whole or not at all, readable for this user only."""
    draft = _write_draft(path, content)
    try:
        draft.replace(path)
    except OSError:
        draft.unlink()
        raise


def _write_draft(path: Path, content: bytes) -> Path:
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, OWNER_ONLY)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        draft.unlink()
        raise
    return draft
