"""Verifies the log: the chain, the guards, the checkpoints, and the working tables beside it."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from django.db import Error, connection

from killswitch.audit.chain import Head
from killswitch.audit.models import AuditEvent
from killswitch.audit.reconciliation import registry
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

MAX_REQUESTS = 10_000  # that an incremental verification compares; the whole one compares all


def verify(
    *,
    checkpoint_file: Path | None = None,
    public_pems: Sequence[str] = (),
    with_tables: bool = True,
    progress: Progress | None = None,
) -> VerificationResult:
    """Everything. Without a file: our own one, if it is there.

    `public_pems` are keys known from elsewhere, besides our own. Raises `CouldNotCheck`, or
    `django.db.Error` when the database is gone.
    """
    tell = progress or no_progress
    _need_a_log()
    walk = chain_walk.walk(progress=tell)
    kept = checkpoint_check.check(checkpoint_file, public_pems=public_pems, progress=tell)
    findings = [walk.finding, _disorder(), _guards(), kept.finding]
    if with_tables:
        findings.append(_tables(None, progress=tell))
    return VerificationResult(
        head_seq=walk.head.seq,
        head_hash=walk.head.hash,
        events=walk.events,
        kept_seq=kept.reach,
        findings=tuple(finding for finding in findings if finding),
        warnings=(*_backwards(walk), *kept.warnings, *protection.warnings(connection)),
    )


def verify_newest(since: Head, *, progress: Progress | None = None) -> VerificationResult:
    """Only what came after an event that was verified before, and the guards.

    Raises as `verify`.
    """
    _need_a_log()
    replaced = chain_walk.still_there(since)
    walk = chain_walk.walk(after=since, progress=progress or no_progress)
    findings = [replaced or walk.finding, _guards()]
    findings.append(_newest_tables(since))
    return VerificationResult(
        head_seq=walk.head.seq,
        head_hash=walk.head.hash,
        events=walk.events,
        findings=tuple(finding for finding in findings if finding),
        warnings=_backwards(walk),
    )


def _newest_tables(since: Head) -> Finding | None:
    newer = AuditEvent.objects.filter(seq__gt=since.seq).exclude(request_id="")
    ids = newer.values_list("request_id", flat=True).distinct().order_by()[:MAX_REQUESTS]
    return _tables(ids, progress=no_progress)


def _tables(request_ids: Iterable[str] | None, *, progress: Progress) -> Finding | None:
    try:
        ids = None if request_ids is None else list(request_ids)
        found = registry.first_discrepancy(ids, progress=progress)
        return found if found or ids is not None else _misplaced()
    except (Error, ValueError, TypeError, OverflowError) as error:
        # Either the database is gone, which this shows, or it holds what cannot be read.
        _need_a_log()
        reason = f"a row of the working tables or an event cannot be read: {str(error).strip()}"
        return Finding(proof=Proof.TABLES, seq=None, reason=reason)


def _misplaced() -> Finding | None:
    reason = sqlite_types.first_wrongly_typed_value() if connection.vendor == "sqlite" else ""
    return Finding(proof=Proof.TABLES, seq=None, reason=reason) if reason else None


def _need_a_log() -> None:
    # A view in its place is a log that somebody put there, and is judged like one.
    if AuditEvent._meta.db_table not in connection.introspection.table_names(include_views=True):
        raise VerificationImpossible("this database holds no audit log")


def _guards() -> Finding | None:
    found = protection.problems(connection)
    if not found:
        return None
    return Finding(proof=Proof.GUARDS, seq=None, reason="; ".join(found))


def _disorder() -> Finding | None:
    reason = protection.index_corruption(connection)
    return Finding(proof=Proof.GUARDS, seq=None, reason=reason) if reason else None


def _backwards(walk: chain_walk.ChainResult) -> tuple[str, ...]:
    if walk.backwards is None:
        return ()
    return (f"the clock was put back: event {walk.backwards} is earlier than the one before it",)
