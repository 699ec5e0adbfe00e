"""What a kill records in the journal instead of the database. It never keeps a cancel waiting."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Self

import structlog

from killswitch.audit.canonical_json import utc_text
from killswitch.break_glass.journal import JournalUnavailable, TimedJournal, host_journal
from killswitch.break_glass.line_data import attempt_data, list_data
from killswitch.break_glass.press import ATTEMPT, CARRIED_ON, END, SENDING, RequestState
from killswitch.cancels.conclusion import Conclusion, OpenOrdersAfter
from killswitch.cancels.kill_record import EarlierAttempt
from killswitch.cancels.lease import Lease
from killswitch.cancels.states import Status
from killswitch.ems.answers import TimedCancelAnswer

log = structlog.get_logger(__name__)


class JournalRecord:
    """Where one request records what it does: of a press, or of a log that is out of reach."""

    def __init__(self, state: RequestState, journal: TimedJournal, *, token: str = "") -> None:
        """`token` is the lease of a request of the log, whose first POST no press announces."""
        self.state = state
        self._journal = journal
        self._token = {"token": token} if token else {}
        self._is_announced = not token

    @classmethod
    def of_lease(cls, lease: Lease) -> Self:
        """Return where a kill that has lost its database records from now on."""
        journal = host_journal()
        state = RequestState(request=lease.uuid, exchange_id=lease.exchange_id)
        record = cls(state, journal, token=lease.token)
        record._write(CARRIED_ON, {"exchange_id": lease.exchange_id})
        return record

    def earlier_attempts(self) -> Sequence[EarlierAttempt]:
        """Return no attempts: no other process carries out a request of the journal."""
        return ()

    def ensure_lease(self) -> None:
        """Do nothing: a request of the journal has one holder."""

    def announce_attempt(self) -> None:
        """Write the announcement of a further POST; that of the first is the press itself."""
        if self.state.status is Status.REQUESTED:
            self.state.status = Status.SENDING
        if not self._is_announced:
            self._write(SENDING, {"number": self.state.attempts + 1})
        self._is_announced = False

    def attempt(self, answer: TimedCancelAnswer, *, next_attempt_at: datetime | None) -> None:  # noqa: ARG002 - no other holder keeps to the plan
        """Write one call to the EMS."""
        data = attempt_data(self.state.request, answer, number=self.state.attempts + 1)
        self._write(ATTEMPT, data)

    def verifying(self) -> None:
        """Show that the list decides from here on; the attempts on record imply it."""
        self.state.status = Status.VERIFYING

    def read(self, *, next_attempt_at: datetime | None) -> None:  # noqa: ARG002
        """Count a read; END has their number."""
        self.state.reads += 1

    def end(
        self,
        *,
        before: Status,  # noqa: ARG002 - there is no row with a status to compare
        conclusion: Conclusion,
        last_list: OpenOrdersAfter | None,
    ) -> None:
        """Write the outcome."""
        count = last_list.count if last_list else None
        data = {
            "status": str(conclusion.status),
            "conclusion": conclusion.sentence,
            "reads": self.state.reads + int(last_list is not None and not last_list.is_counted),
            "open_after": count,
            "list": list_data(last_list.answer) if last_list else None,
            "finished_at": utc_text(datetime.now(UTC)),
        }
        self._write(END, data)

    def _write(self, kind: str, data: Mapping[str, Any]) -> None:
        line = {"request": self.state.request, **self._token, **data}
        try:
            self._journal.append(kind, line)
        except JournalUnavailable as error:
            self.state.not_journaled = str(error)
            log.warning("not_journaled", kind=kind, request=self.state.request, error=str(error))
        self.state.apply(kind, line)
