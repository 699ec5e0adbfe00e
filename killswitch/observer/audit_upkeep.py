"""Keeps the evidence while the system runs: checkpoints of the log, and its verification.

Nothing here may harm anything else: what fails is logged, and tried again at the next round.
"""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

import structlog
from django.db import Error, transaction

from killswitch.alarms import services as alarms
from killswitch.alarms.channels import channels
from killswitch.alarms.models import Alarm
from killswitch.alarms.models import Kind as AlarmKind
from killswitch.alarms.outbox import Message, send_message
from killswitch.audit import chain, checkpoints
from killswitch.audit.chain import Head
from killswitch.audit.checkpoints import Checkpoint
from killswitch.audit.verification import last_result
from killswitch.audit.verification.findings import (
    Finding,
    VerificationImpossible,
    VerificationResult,
)
from killswitch.audit.verification.verify import verify, verify_newest
from killswitch.runtime.revisions import next_revision

CHECKPOINT_INTERVAL_S = 30.0  # seconds; the promise is a minute
CHECK_INTERVAL_S = 2.0  # seconds between two looks whether a verification is due
VERIFY_INTERVAL_S = 60.0  # seconds between two verifications of the newest events
FULL_VERIFY_INTERVAL_S = 3600.0  # seconds between two verifications of everything
FULL_VERIFY_RETRY_S = 300.0  # seconds, while the last one did not end well
MAX_FAILED_CHECKS = (
    2  # verifications in a row that could not be made, after which a person is called
)
HEAD_INTERVAL_S = 45.0  # seconds between two heads that are told; by the rounds above, a minute
MAX_YIELD_S = 1.0  # seconds
MAX_SUBJECT_CHARS = 150  # characters

log = structlog.get_logger(__name__)


class ShuttingDown(Exception):
    """The process ends; what was being verified is left."""


class AuditUpkeep:
    """The rounds of one observer's process."""

    def __init__(
        self,
        *,
        is_active: Callable[[], bool],
        stop: threading.Event,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._is_active = is_active
        self._stop = stop
        self._clock = clock
        self._told_at: float | None = None
        self._untold: Checkpoint | None = None  # the newest that the places were not told
        self._due_at = self._whole_at = clock()
        self._verdict: VerificationResult | None = (
            None  # of this process, never read from the database
        )
        self._unchecked = 0  # verifications in a row that could not be made
        self._alarmed = False  # that they could not

    def write_checkpoint(self) -> None:
        """If something has happened; every observer keeps its own file."""
        self._untold = checkpoints.write("ROUND") or self._untold
        if self._untold and self._is_active() and self._may_tell():
            newest, self._untold = self._untold, None
            self._told_at = self._clock()
            send_head(newest)

    def verify(self) -> None:
        """The newest events, and now and then everything, whose result then stands."""
        if not self._is_active():
            self._verdict = None  # whoever verifies meanwhile knows more
            self._unchecked = 0
            self._due_at = self._clock()
        elif self._clock() >= self._due_at:
            self._due_at = self._clock() + VERIFY_INTERVAL_S
            try:
                self._verify_what_is_due()
            except ShuttingDown:
                return
            except (VerificationImpossible, Error) as error:
                self._could_not_check(str(error).strip())
            else:
                self._unchecked, self._alarmed = 0, False

    def _could_not_check(self, reason: str) -> None:
        """Nothing is known of the log: the worst that can be done to it would look like this."""
        self._unchecked += 1
        log.warning("audit_log_not_verified", reason=reason, times=self._unchecked)
        if self._unchecked < MAX_FAILED_CHECKS or self._alarmed:
            return
        # A subject for each day: one that was acknowledged must not hide the next.
        self._alarmed = _raise_or_notify(
            subject=f"NOT CHECKED: {datetime.now(UTC).date()}",
            title="The audit log cannot be checked.",
            detail=reason,
            tell_at_once=self._unchecked == MAX_FAILED_CHECKS,
        )

    def _verify_what_is_due(self) -> None:
        before = self._verdict
        whole = before is None or self._clock() >= self._whole_at + (
            FULL_VERIFY_INTERVAL_S if before.ok else FULL_VERIFY_RETRY_S
        )
        if whole or before is None:
            self._verdict = verify(progress=YieldingProgress(self._stop))
            self._whole_at = self._clock()
        elif before.ok:
            known = Head(seq=before.head_seq, hash=before.head_hash)
            self._verdict = verify_newest(known, progress=YieldingProgress(self._stop))
        else:
            return  # what is broken does not mend by looking at what came later
        last_result.store(self._verdict, whole=whole)
        for finding in self._verdict.findings:
            _raise_for_finding(finding)

    def _may_tell(self) -> bool:
        return self._told_at is None or self._clock() >= self._told_at + HEAD_INTERVAL_S


class YieldingProgress:
    """Verifying a long log takes minutes: half of the time it lets everything else go first."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self._since = time.monotonic()

    def __call__(self, _what: str, _done: int, _of: int) -> None:
        worked = time.monotonic() - self._since
        if self._stop.wait(min(worked, MAX_YIELD_S)):
            raise ShuttingDown
        self._since = time.monotonic()


def write_checkpoint(occasion: str) -> Checkpoint | None:
    """At a start or a stop, which it must not disturb. None when there is nothing new."""
    try:
        return checkpoints.write(occasion)
    except (OSError, Error, ValueError) as error:
        log.warning("audit_checkpoint_not_written", error=str(error).strip())
        return None


def send_head(made: Checkpoint) -> None:
    """Have the alert places keep a head: what they were told nobody can take back."""
    message = Message(
        title=f"Audit log: head {made.seq}",
        body=f"Keep this line; `verify_audit --checkpoint FILE` compares the log with it.\n"
        f"{made.line}",
        urgent=False,
    )
    _tell_all(message)


def _tell_all(message: Message) -> None:
    """Past the outbox of the alarms, which is written together with the log."""
    for place, url in channels().items():
        if error := send_message(url=url, message=message):
            log.warning("not_told_of_the_audit_log", place=place, title=message.title, error=error)


def _raise_for_finding(finding: Finding) -> None:
    log.error("audit_log_does_not_verify", **vars(finding))
    what = finding.reason if finding.seq is None else finding.seq
    _raise_or_notify(
        subject=f"{finding.proof}: {what}",
        title="The audit log does not verify.",
        detail=finding.reason,
        tell_at_once=True,
    )


def _raise_or_notify(*, subject: str, title: str, detail: str, tell_at_once: bool) -> bool:
    """Raise an alarm; False if it could not be recorded, and then its places are told at once."""
    try:
        _raise_alarm(subject=subject[:MAX_SUBJECT_CHARS], title=title, detail=detail)
    except Error as error:
        why = str(error).strip()
        log.error("audit_alarm_not_recorded", title=title, detail=detail, error=why)  # noqa: TRY400
        if tell_at_once:
            _tell_all(Message(title=title, body=f"{detail}\nNo alarm could be recorded."))
        return False
    return True


def _raise_alarm(*, subject: str, title: str, detail: str) -> None:
    with transaction.atomic():
        if Alarm.objects.filter(kind=AlarmKind.EVIDENCE, subject=subject).exists():
            return
        facts = alarms.raise_alarm(
            kind=AlarmKind.EVIDENCE,
            subject=subject,
            title=title,
            detail=detail,
            revision=next_revision(),
        )
        if facts:
            chain.append(*facts)
