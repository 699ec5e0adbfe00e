"""Makes a process end at once when its parent does, however that came about (Linux)."""

import ctypes
import multiprocessing
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """From now on the kernel kills this process when `parent`, a process id, ends.

    Call it in the child. It survives an exec, and it does not pass to the child's own children.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the kernel knew our wish
        os._exit(1)


def die_with_server() -> None:
    """In a worker process that the web server started: end with it. Elsewhere: nothing."""
    server = multiprocessing.parent_process()
    if server is not None and server.pid is not None:
        die_with_parent(server.pid)
