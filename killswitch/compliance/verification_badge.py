"""When the log was last verified, and with what result; never more than is known."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

from django.db.models.functions import Now

from killswitch.audit import chain
from killswitch.audit.models import Verification
from killswitch.audit.verification.explanations import explain, proof_of
from killswitch.audit.verification.findings import Proof
from killswitch.runtime.age import age

# The observer verifies the newest events every minute, and the whole log every hour.
STALE_AFTER = timedelta(minutes=5)
FULL_CHECK_STALE_AFTER = timedelta(hours=3)
USUAL_INTERVAL = (
    "The log is normally verified every minute. If this persists, tell the system operator."
)


@dataclass(frozen=True, kw_only=True)
class Badge:
    """The result of the latest verification, with the tones and icons of the console."""

    tone: str
    icon: str
    words: str
    detail: str
    last: Verification | None
    reason: str = ""  # of a failed verification, in technical words

    @classmethod
    def now(cls) -> Self:
        # By the database's clock, which also set the time of the verification.
        last = Verification.objects.annotate(now=Now()).first()
        tone, icon, words, detail = _judge(last, now=last.now if last else None)
        reason = last.reason if last and not last.ok else ""
        return cls(tone=tone, icon=icon, words=words, detail=detail, last=last, reason=reason)

    @property
    def is_failure(self) -> bool:
        return self.tone == "bad"

    @property
    def is_partial(self) -> bool:
        """Return whether only newer events were verified since the last full verification."""
        return self.last is not None and self.last.at > self.last.whole_at

    @property
    def is_unprotected(self) -> bool:
        """Return whether a protection failed, without which the events could have been changed."""
        return bool(self.reason) and proof_of(self.reason) is Proof.GUARDS

    @property
    def warnings(self) -> list[str]:
        return self.last.warnings.splitlines() if self.last else []


def _judge(last: Verification | None, *, now: datetime | None) -> tuple[str, str, str, str]:
    if last is None or now is None:
        return "odd", "ask", "Not verified yet", USUAL_INTERVAL
    if not last.ok:
        return "bad", "no", "Verification failed", explain(last.reason)
    if (head := chain.head().seq) < last.head_seq:
        detail = f"The log was verified up to event {last.head_seq}, but now ends at event {head}."
        return "bad", "no", "Events are missing", detail
    if not age(at=last.at, now=now).within(STALE_AFTER.total_seconds()):
        return "warn", "half", "Verification overdue", USUAL_INTERVAL
    if not age(at=last.whole_at, now=now).within(FULL_CHECK_STALE_AFTER.total_seconds()):
        return "warn", "half", "Full verification overdue", "Only the newest events were verified."
    return "good", "ok", "Verified", ""
