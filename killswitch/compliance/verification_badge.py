"""When the log was last verified, and with what result; never more than is known."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from django.db.models.functions import Now

from killswitch.audit import chain
from killswitch.audit.models import Verification

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

    @classmethod
    def now(cls) -> Self:
        last = Verification.objects.annotate(now=Now()).first()
        # By the database's clock, which also set the time of the verification.
        age = last.now - last.at if last else timedelta()
        tone, icon, words, detail = _judge(last, age=age)
        return cls(tone=tone, icon=icon, words=words, detail=detail, last=last)

    @property
    def is_failure(self) -> bool:
        return self.tone == "bad"

    @property
    def warnings(self) -> list[str]:
        return self.last.warnings.splitlines() if self.last else []


def _judge(last: Verification | None, *, age: timedelta) -> tuple[str, str, str, str]:
    if last is None:
        return "odd", "ask", "Not verified yet", USUAL_INTERVAL
    if not last.ok:
        return "bad", "no", "Verification failed", last.reason
    if (head := chain.head().seq) < last.head_seq:
        detail = f"The log was verified up to event {last.head_seq}, but now ends at event {head}."
        return "bad", "no", "Events are missing", detail
    if not timedelta() <= age < STALE_AFTER:
        return "warn", "half", "Verification overdue", USUAL_INTERVAL
    if age + (last.at - last.whole_at) > FULL_CHECK_STALE_AFTER:
        return "warn", "half", "Full verification overdue", "Only the newest events were verified."
    return "good", "ok", "Verified", ""
