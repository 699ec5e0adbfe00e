"""The reconcilers, which compare the working tables of each package with the log.

The log imports no other package, so each package adds the reconciler of its own tables at start.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from killswitch.audit.verification.findings import Progress


@dataclass(frozen=True, kw_only=True)
class Discrepancy:
    """A difference between a table and the log; `seq` is the event that differs, if any."""

    seq: int | None
    reason: str


Reconciler = Callable[[Sequence[str] | None, Progress], Iterator[Discrepancy]]
"""Compares the requests with these ids, or everything when they are None."""

_reconcilers: list[Reconciler] = []


def add_reconciler(reconciler: Reconciler) -> None:
    """Run this reconciler in every verification."""
    if reconciler not in _reconcilers:
        _reconcilers.append(reconciler)


def first_discrepancy(
    request_ids: Sequence[str] | None, *, progress: Progress
) -> Discrepancy | None:
    """Return the first discrepancy; others may only follow from it."""
    for reconciler in _reconcilers:
        for discrepancy in reconciler(request_ids, progress):
            return discrepancy
    return None
