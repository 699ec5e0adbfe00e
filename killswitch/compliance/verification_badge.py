"""Says when the log was last verified, and with what result: nothing better than is known."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from killswitch.audit import chain
from killswitch.audit.models import Verification
from killswitch.audit.verification import last_result

# The observer verifies the newest events every minute, and everything every hour.
STALE_AFTER = timedelta(minutes=5)
FULL_CHECK_STALE_AFTER = timedelta(hours=3)


@dataclass(frozen=True, kw_only=True)
class Badge:
    """`tone` and `icon` are those of the console; `words` say it without them."""

    tone: str
    icon: str
    words: str
    detail: str
    last: Verification | None

    @classmethod
    def now(cls) -> Self:
        last, age = last_result.get_with_age()
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
        return "odd", "ask", "Not verified yet", "Nobody has verified the log in this database."
    if not last.ok:
        return "bad", "no", "The log does not verify", last.reason
    if (head := chain.head().seq) < last.head_seq:
        missing = f"It was verified up to event {last.head_seq:,} and ends at {head:,} now."
        return "bad", "no", "The log is shorter than it was", missing
    if not timedelta() <= age < STALE_AFTER:
        return "warn", "half", "Not verified lately", "The observer should do it every minute."
    if age + (last.at - last.whole_at) > FULL_CHECK_STALE_AFTER:
        return "warn", "half", "Not verified whole lately", "Only the newest events were."
    return "good", "ok", "Verified", ""
