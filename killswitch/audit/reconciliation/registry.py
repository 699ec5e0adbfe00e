"""Who can say whether the working tables agree with the log: each room for its own tables.

The log knows no other room, so a room that keeps such tables gives its witness here at start.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from killswitch.audit.verification.findings import Finding, Progress, Proof


@dataclass(frozen=True, kw_only=True)
class Discrepancy:
    """What a table says and the log does not; `seq` is the event that says otherwise."""

    seq: int | None
    reason: str


Reconciler = Callable[[Sequence[str] | None, Progress], Iterator[Discrepancy]]
"""Given the ids of requests, or None for all that there are."""

_witnesses: list[Reconciler] = []


def add_reconciler(witness: Reconciler) -> None:
    """Have this witness heard at every verification."""
    if witness not in _witnesses:
        _witnesses.append(witness)


def first_discrepancy(request_ids: Sequence[str] | None, *, progress: Progress) -> Finding | None:
    """The first that any witness tells of; the others may merely follow from it."""
    for witness in _witnesses:
        for told in witness(request_ids, progress):
            return Finding(proof=Proof.TABLES, seq=told.seq, reason=told.reason)
    return None
