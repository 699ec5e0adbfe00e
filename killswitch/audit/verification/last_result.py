"""Stores the result of the latest verification for the pages."""

from datetime import timedelta

from django.db.models.functions import Now

from killswitch.audit.models import Verification
from killswitch.audit.verification.findings import VerificationResult


def store(result: VerificationResult, *, whole: bool) -> None:
    """Replace the stored result. A verification of the newest events keeps the last warnings."""
    values = {
        "at": Now(),
        "ok": result.ok,
        "head_seq": result.head_seq,
        "head_hash": result.head_hash,
        "first_bad_seq": result.first_bad_seq,
        "reason": result.reason,
    }
    if whole:
        values |= {
            "warnings": "\n".join(result.warnings),
            "whole_at": Now(),
            "whole_seq": result.head_seq,
        }
        Verification.objects.update_or_create(id=1, defaults=values)
    else:
        Verification.objects.filter(id=1).update(**values)


def get() -> Verification | None:
    """Return the latest result, None before the first verification."""
    return Verification.objects.filter(id=1).first()


def get_with_age() -> tuple[Verification | None, timedelta]:
    """Return the latest result and its age by the database's clock, which also set its time."""
    row = Verification.objects.annotate(now=Now()).filter(id=1).first()
    return row, row.now - row.at if row else timedelta()
