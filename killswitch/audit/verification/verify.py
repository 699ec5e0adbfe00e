"""Verifies the log: the chain, its triggers, the checkpoints, and the working tables."""

import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from pathlib import Path

from django.db import Error, connection

from killswitch.audit.chain import Head
from killswitch.audit.models import AuditEvent
from killswitch.audit.reconciliation.comparison import discrepancy, reconcilers
from killswitch.audit.triggers import protection
from killswitch.audit.verification import chain_walk, checkpoint_check, sqlite_types
from killswitch.audit.verification.findings import (
    Finding,
    Progress,
    Proof,
    VerificationImpossible,
    VerificationResult,
    no_progress,
)

MAX_REQUESTS = 10_000  # of an incremental verification; a complete one compares all


def verify(
    *,
    checkpoint_file: Path | None = None,
    public_pems: Sequence[str] = (),
    with_tables: bool = True,
    on_two_processors: bool = False,
    progress: Progress = no_progress,
) -> VerificationResult:
    """Verify everything, by default against our own file of checkpoints, if it exists.

    `public_pems` are trusted keys in addition to our own. On two processors it takes less time, but
    needs a process of low priority: the second one is for cancels. Raises `VerificationImpossible`,
    or `django.db.Error` when the database is gone.
    """
    _require_log()
    indexes = _check_indexes(in_thread=True) if on_two_processors else None
    walk = chain_walk.walk(progress=progress)
    checkpoints = checkpoint_check.check(
        checkpoint_file, public_pems=public_pems, progress=progress
    )
    tables = _check_tables(None, progress=progress) if with_tables else None
    return _result(
        walk,
        _guards_finding((indexes or _check_indexes(in_thread=False)).result()),
        _guards_finding("; ".join(protection.problems(connection))),
        checkpoints.finding,
        tables,
        kept_seq=checkpoints.reach,
        warnings=(*checkpoints.warnings, *protection.warnings(connection)),
    )


def verify_newest(since: Head, *, progress: Progress = no_progress) -> VerificationResult:
    """Verify only the events after a verified one, and the protection. Raises as `verify`."""
    _require_log()
    walk = chain_walk.walk(after=since, progress=progress)
    newer = AuditEvent.objects.filter(seq__gt=since.seq).exclude(request_id="").order_by()
    request_ids = newer.values_list("request_id", flat=True).distinct()[:MAX_REQUESTS]
    return _result(
        walk,
        _guards_finding("; ".join(protection.problems(connection))),
        _check_tables(request_ids, progress=no_progress),
    )


def _check_indexes(*, in_thread: bool) -> "Future[str]":
    """Look for corrupt indexes. SQLite does that alone, so Python can go on meanwhile."""
    future: Future[str] = Future()

    def check() -> None:
        try:
            future.set_result(protection.index_corruption(connection))
        except Exception as error:  # noqa: BLE001 - it is raised where the result is needed
            future.set_exception(error)
        finally:
            if in_thread:
                connection.close()

    if in_thread:
        threading.Thread(target=check, name="indexes", daemon=True).start()
    else:
        check()
    return future


def _result(
    walk: chain_walk.ChainResult,
    *findings: Finding | None,
    kept_seq: int = 0,
    warnings: Sequence[str] = (),
) -> VerificationResult:
    if walk.backwards is not None:
        clock = f"the clock went back: event {walk.backwards} is earlier than the one before it"
        warnings = (clock, *warnings)
    return VerificationResult(
        head_seq=walk.head.seq,
        head_hash=walk.head.hash,
        events=walk.events,
        kept_seq=kept_seq,
        findings=tuple(filter(None, (walk.finding, *findings))),
        warnings=tuple(warnings),
    )


def _guards_finding(reason: str) -> Finding | None:
    return Finding(proof=Proof.GUARDS, seq=None, reason=reason) if reason else None


def _require_log() -> None:
    if not protection.log_exists(connection):
        raise VerificationImpossible("this database has no audit log")


def _check_tables(request_ids: Iterable[str] | None, *, progress: Progress) -> Finding | None:
    try:
        ids = None if request_ids is None else list(request_ids)
        for reconciler in reconcilers:
            for finding in reconciler(ids, progress):
                return finding  # others may only follow from it
        reason = ""
        if ids is None and connection.vendor == "sqlite":
            reason = sqlite_types.first_wrongly_typed_value()
    except (Error, ValueError, TypeError, OverflowError) as error:
        # Either the database is gone, which raises here again, or a value cannot be read.
        _require_log()
        reason = f"a row of the working tables or an event cannot be read: {str(error).strip()}"
    return discrepancy(reason) if reason else None
