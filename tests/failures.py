"""Failures that tests cause from inside, because no request and no file can."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import OperationalError, connections


@contextmanager
def full_log(error: type[Exception] = OperationalError) -> Iterator[None]:
    """Let the audit log take no event."""

    def full(*_: object) -> None:
        raise error("the disk is full")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("killswitch.audit.appending.append", full)
        yield


@contextmanager
def commits(replacement: Callable[[Callable[[], None]], None]) -> Iterator[None]:
    """Call `replacement` with the real commit instead of each commit."""
    wrapper = type(connections["default"])
    commit = wrapper.commit
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wrapper, "commit", lambda self: replacement(lambda: commit(self)))
        yield


def commit_without_answer(commit: Callable[[], None]) -> None:
    """Commit, and lose the answer."""
    commit()
    lose_connection()


def lose_connection(*_: Any) -> None:
    """Fail like a database that is gone."""
    raise OperationalError("the server closed the connection")
