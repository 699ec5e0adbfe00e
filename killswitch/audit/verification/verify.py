"""Verifies the log: the chain, its triggers, the checkpoints, and the working tables."""

from collections.abc import Iterable, Sequence
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
    progress: Progress = no_progress,
) -> VerificationResult:
    """Verify everything, by default against our own file of checkpoints, if it exists.

    `public_pems` are trusted keys in addition to our own. Raises `VerificationImpossible`, or
    `django.db.Error` when the database is gone.
    """
    _require_log()
    walk = chain_walk.walk(progress=progress)
    kept = checkpoint_check.check(checkpoint_file, public_pems=public_pems, progress=progress)
    corruption = protection.index_corruption(connection)
    findings = [
        walk.finding,
        Finding(proof=Proof.GUARDS, seq=None, reason=corruption) if corruption else None,
        _check_protection(),
        kept.finding,
        _check_tables(None, progress=progress) if with_tables else None,
    ]
    return VerificationResult(
        head_seq=walk.head.seq,
        head_hash=walk.head.hash,
        events=walk.events,
        kept_seq=kept.reach,
        findings=tuple(filter(None, findings)),
        warnings=(*_clock_warnings(walk), *kept.warnings, *protection.warnings(connection)),
    )


def verify_newest(since: Head, *, progress: Progress = no_progress) -> VerificationResult:
    """Verify only the events after a verified one, and the protection. Raises as `verify`."""
    _require_log()
    replaced = chain_walk.check_head(since)
    walk = chain_walk.walk(after=since, progress=progress)
    newer = AuditEvent.objects.filter(seq__gt=since.seq).exclude(request_id="")
    request_ids = newer.values_list("request_id", flat=True).distinct().order_by()[:MAX_REQUESTS]
    findings = [
        replaced or walk.finding,
        _check_protection(),
        _check_tables(request_ids, progress=no_progress),
    ]
    return VerificationResult(
        head_seq=walk.head.seq,
        head_hash=walk.head.hash,
        events=walk.events,
        findings=tuple(filter(None, findings)),
        warnings=_clock_warnings(walk),
    )


def _require_log() -> None:
    # A view in place of the table counts: verification reports it as a finding.
    if AuditEvent._meta.db_table not in connection.introspection.table_names(include_views=True):
        raise VerificationImpossible("this database has no audit log")


def _check_protection() -> Finding | None:
    problems = protection.problems(connection)
    return Finding(proof=Proof.GUARDS, seq=None, reason="; ".join(problems)) if problems else None


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


def _clock_warnings(walk: chain_walk.ChainResult) -> tuple[str, ...]:
    if walk.backwards is None:
        return ()
    return (f"the clock was set back: event {walk.backwards} is earlier than the one before it",)
