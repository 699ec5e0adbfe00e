"""Keeps the evidence while the system runs: writes checkpoints of the log and verifies it.

A failure here must not harm anything else: it is logged, and tried again in the next round.
"""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

import structlog
from django.db import Error

from killswitch.alarms import services as alarms
from killswitch.alarms.messages import Message
from killswitch.alarms.models import AlarmKind
from killswitch.alarms.outbox import send_to_all_channels, send_to_archives
from killswitch.audit import checkpoints, restores
from killswitch.audit.chain import Head
from killswitch.audit.checkpoints import Checkpoint
from killswitch.audit.recorder import recording
from killswitch.audit.verification.explanations import with_meaning
from killswitch.audit.verification.findings import (
    VerificationImpossible,
    VerificationResult,
)
from killswitch.audit.verification.verify import verify, verify_newest
from killswitch.runtime.text import error_line

CHECKPOINT_INTERVAL_S = 30.0  # the promise is a minute
CHECK_INTERVAL_S = 2.0
VERIFY_INTERVAL_S = 60.0  # the newest events
FULL_VERIFY_INTERVAL_S = 3600.0
FULL_VERIFY_RETRY_S = 300.0  # after a verification that found a fault
FAILURES_BEFORE_ALARM = 2  # verifications in a row that were impossible
HEAD_INTERVAL_S = 45.0  # with the rounds of the checkpoints, a head is sent once a minute
MAX_YIELD_S = 1.0
MAX_SUBJECT_CHARS = 150
INSTRUCTION = ". Do not change or delete any data; tell the system operator."

log = structlog.get_logger(__name__)


class ShuttingDown(Exception):
    """The process is ending, and the verification under way was abandoned."""


class AuditUpkeep:
    """The checkpoints and verifications of one observer process."""

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
        self._unsent: Checkpoint | None = None  # the newest that no channel has received
        self._send_head_at = clock()
        self._verify_at = self._verified_fully_at = clock()
        # The last result of this process, never one from the database: anyone could write that.
        self._result: VerificationResult | None = None
        self._restore_seq = 0  # the newest restore of a backup when it was verified whole
        self._failures = 0
        self._has_alarmed = False
        self._resumed_at = 0.0

    def write_checkpoint(self) -> None:
        """Write a checkpoint if there are new events; every observer keeps its own file."""
        self._unsent = checkpoints.write("ROUND") or self._unsent
        if self._unsent and self._is_active() and self._clock() >= self._send_head_at:
            newest, self._unsent = self._unsent, None
            self._send_head_at = self._clock() + HEAD_INTERVAL_S
            send_head(newest)

    def verify(self) -> None:
        """Verify the newest events, and everything once an hour, when it is time."""
        if not self._is_active():
            self._result = None  # the active observer knows more
            self._failures = 0
            self._verify_at = self._clock()
        elif self._clock() >= self._verify_at:
            self._verify_at = self._clock() + VERIFY_INTERVAL_S
            try:
                self._verify_now()
            except ShuttingDown:
                return
            except (VerificationImpossible, Error) as error:
                self._alarm_if_repeated(str(error).strip())
            except Exception as error:
                # A row that no verification expects must not silence it.
                log.exception("audit_log_not_verified")
                self._alarm_if_repeated(f"{type(error).__name__}: {error_line(error)}")
            else:
                self._failures, self._has_alarmed = 0, False

    def _verify_now(self) -> None:
        self._resumed_at = time.monotonic()
        last = self._result
        interval_s = FULL_VERIFY_INTERVAL_S if last and last.ok else FULL_VERIFY_RETRY_S
        restore_seq = restores.newest_seq() if last else self._restore_seq
        if (
            last is None
            or self._clock() >= self._verified_fully_at + interval_s
            or restore_seq > self._restore_seq
        ):
            self._result = verify(progress=self._pause)
            self._verified_fully_at = self._clock()
            self._restore_seq = restore_seq if last else restores.newest_seq()
            self._result.store(whole=True)
        elif last.ok:
            head = Head(seq=last.head_seq, hash=last.head_hash)
            self._result = verify_newest(head, progress=self._pause)
            self._result.store(whole=False)
        else:
            return  # later events cannot repair a failed verification
        for finding in self._result.findings:
            log.error("audit_log_does_not_verify", **vars(finding))
            subject = finding.reason if finding.seq is None else finding.seq
            _raise_or_notify(
                subject=f"{finding.proof}: {subject}",
                title="The audit log failed verification.",
                detail=f"{with_meaning(finding.reason).removesuffix('.')}{INSTRUCTION}",
                notify=True,
            )

    def _pause(self, *_progress: object) -> None:
        """Interrupt a long verification half of the time, so that other work goes first."""
        work_s = time.monotonic() - self._resumed_at
        if self._stop.wait(min(work_s, MAX_YIELD_S)):
            raise ShuttingDown
        self._resumed_at = time.monotonic()

    def _alarm_if_repeated(self, reason: str) -> None:
        """Call a person: the worst attack on the log would look like this."""
        self._failures += 1
        log.warning("audit_log_not_verified", reason=reason, times=self._failures)
        if self._failures < FAILURES_BEFORE_ALARM or self._has_alarmed:
            return
        # One subject a day: an alarm that was acknowledged must not hide the next one.
        self._has_alarmed = _raise_or_notify(
            subject=f"NOT CHECKED: {datetime.now(UTC).date()}",
            title="The audit log could not be verified.",
            detail=f"{reason.removesuffix('.')}{INSTRUCTION}",
            notify=self._failures == FAILURES_BEFORE_ALARM,
        )


def try_to_write_checkpoint(occasion: str) -> Checkpoint | None:
    """Write a checkpoint at a start or a stop, which a failure must not disturb."""
    try:
        return checkpoints.write(occasion)
    except (OSError, Error, ValueError) as error:
        log.warning("audit_checkpoint_not_written", error=str(error).strip())
        return None


def send_head(checkpoint: Checkpoint) -> None:
    """Send a head to the archives: what they have received cannot be taken back."""
    body = (
        "Keep this message. It can later prove whether the log up to this event has been changed"
        f" (`verify_audit --checkpoint FILE`).\n{checkpoint.line}"
    )
    send_to_archives(
        Message(title=f"Audit log checkpoint: event {checkpoint.seq}", body=body, urgent=False)
    )


def _raise_or_notify(*, subject: str, title: str, detail: str, notify: bool) -> bool:
    """Raise an alarm. Return False if it could not be recorded, and notify directly then."""
    try:
        with recording():
            alarms.raise_alarm(
                kind=AlarmKind.EVIDENCE,
                subject=subject[:MAX_SUBJECT_CHARS],
                title=title,
                detail=detail,
            )
    except Error as error:
        reason = str(error).strip()
        log.error("audit_alarm_not_recorded", title=title, detail=detail, error=reason)  # noqa: TRY400
        if notify:
            send_to_all_channels(
                Message(title=title, body=f"{detail}\nThe alarm could not be recorded.")
            )
        return False
    return True
