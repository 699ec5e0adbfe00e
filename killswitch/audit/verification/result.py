"""Remembers what the last verification found, for the pages that show it."""

from datetime import timedelta

from django.db.models.functions import Now

from killswitch.audit.models import Verification
from killswitch.audit.verification.findings import VerificationResult


def store(verdict: VerificationResult, *, whole: bool) -> None:
    """Replace what was found last. A verification of the newest events follows a whole one."""
    news = {
        "at": Now(),
        "ok": verdict.ok,
        "head_seq": verdict.head_seq,
        "head_hash": verdict.head_hash,
        "first_bad_seq": verdict.first_bad_seq,
        "reason": verdict.reason,
        "warnings": "\n".join(verdict.warnings),
    }
    if whole:
        news |= {"whole_at": Now(), "whole_seq": verdict.head_seq}
        Verification.objects.update_or_create(id=1, defaults=news)
    else:
        del news["warnings"]  # those of the whole stay
        Verification.objects.filter(id=1).update(**news)


def last() -> Verification | None:
    """What was found last, and when; None when nobody has verified yet."""
    return Verification.objects.filter(id=1).first()


def last_and_its_age() -> tuple[Verification | None, timedelta]:
    """The same, and how long ago that was by the clock that wrote it: the database's."""
    found = Verification.objects.annotate(now=Now()).filter(id=1).first()
    return found, found.now - found.at if found else timedelta()
