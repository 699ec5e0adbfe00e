"""One break-glass press and what is known of its requests, in memory and as lines of the journal.

A press becomes these lines, in this order for each request:

| kind    | when                                  | data                                |
|---------|---------------------------------------|-------------------------------------|
| PRESS   | before the first POST of all requests | the press and its requests          |
| ATTEMPT | after each answer                     | the answer                          |
| SENDING | before each further POST of a request | the number of the attempt           |
| END     | when all that can be known is known   | the outcome, and the list behind it |

A request of the log whose database went away has a line CARRIED_ON instead of PRESS, and a line
SENDING before each POST. All its lines have the token of its lease.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from killswitch.break_glass import holders
from killswitch.break_glass.journal_reader import JournalReader, Line
from killswitch.cancels.states import FINAL, Status

PRESS, SENDING, ATTEMPT, END = "PRESS", "SENDING", "ATTEMPT", "END"
CARRIED_ON = "CARRIED_ON"  # a request of the log, whose database went away; its lines follow
# How long after its deadline the last line of a request is written at the latest.
MAX_OVERTIME_S = 60.0


@dataclass(frozen=True, kw_only=True)
class PressedExchange:
    """One request of a press. Times are UTC texts."""

    request: str  # its UUID
    exchange_id: str
    ever_listed: bool = False
    open_before: int | None = None
    open_before_seen_at: str | None = None


@dataclass(frozen=True, kw_only=True)
class Press:
    """Who cancels what and why, as it is in the journal."""

    press: str  # its UUID
    nonce: str  # of its one-use key
    user_id: int | None  # None on the command line
    by_name: str
    by_role: str
    asked_at: str
    reason: str
    reason_altered: bool
    origin: str
    address: str = ""
    user_agent: str = ""
    gesture: str = ""
    everywhere: bool = False
    deadline_ms: int  # how long each request may take
    holder: str = ""  # the process that carries it out, by `holders`
    requests: Sequence[PressedExchange]

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Self:
        """Return the press of a PRESS line. Raises TypeError and KeyError for any other data."""
        requests = tuple(PressedExchange(**request) for request in data["requests"])
        return cls(**{**data, "requests": requests})

    @property
    def data(self) -> dict[str, Any]:
        return asdict(self)

    def new_states(self) -> list["RequestState"]:
        """Return what is known of its requests before anything was sent."""
        return [
            RequestState(request=request.request, exchange_id=request.exchange_id)
            for request in self.requests
        ]


@dataclass(kw_only=True)
class RequestState:
    """What is known of one request. One thread writes it, any may read it."""

    request: str
    exchange_id: str
    status: Status = Status.REQUESTED
    sentence: str = ""
    attempts: int = 0
    reads: int = 0
    reject_reason: str = ""
    message: str = ""
    open_after: int | None = None
    # Why lines about it are missing in the journal; "" if all of them are there.
    not_journaled: str = field(default="")

    @property
    def is_final(self) -> bool:
        return self.status in FINAL

    def apply(self, kind: str, data: Mapping[str, Any]) -> None:
        """Take over what a line says."""
        match kind:
            case "SENDING" if self.status is Status.REQUESTED:
                self.status = Status.SENDING
            case "ATTEMPT":
                self.attempts += 1
                if data["outcome"] == "ACKNOWLEDGED":  # the list decides from here on
                    self.status = Status.VERIFYING
                if data["reject_reason"] or data["message"] or data["outcome"] == "ACKNOWLEDGED":
                    self.reject_reason, self.message = data["reject_reason"], data["message"]
            case "END":
                self.sentence = data["conclusion"]
                self.open_after = data["open_after"]
                self.status = Status(data["status"])  # last: readers take the rest for final


@dataclass(frozen=True, kw_only=True)
class JournaledPress:
    """A press, its line, and the lines of its requests by their UUIDs."""

    press: Press
    line: Line
    lines: Mapping[str, Sequence[Line]]

    @property
    def is_over(self) -> bool:
        return all(any(line.kind == END for line in lines) for lines in self.lines.values())

    @property
    def states(self) -> list[RequestState]:
        """Return what the lines say of its requests."""
        states = self.press.new_states()
        for state in states:
            for line in self.lines[state.request]:
                state.apply(line.kind, line.data)
        return states

    def may_be_carried_out(self, home: Path) -> bool:
        """Return False if the process that carried it out is known to be dead."""
        if self.press.holder:
            return holders.is_alive(home, self.press.holder)
        age_s = (datetime.now(UTC) - datetime.fromisoformat(self.last.at)).total_seconds()
        return age_s < self.press.deadline_ms / 1000 + MAX_OVERTIME_S

    @property
    def last(self) -> Line:
        """Return its newest line."""
        newest = [lines[-1] for lines in self.lines.values() if lines]
        return max([self.line, *newest], key=lambda line: line.seq)


def journaled_presses(reader: JournalReader) -> list[JournaledPress]:
    """Return the presses whose lines this installation has sealed, oldest first."""
    presses = []
    lines_by_request: dict[str, list[Line]] = {}
    for line in reader.lines:
        if not line.is_sealed_here:
            continue
        if line.kind == PRESS:
            press = Press.from_data(line.data)
            lines: dict[str, list[Line]] = {row.request: [] for row in press.requests}
            lines_by_request |= lines
            presses.append(JournaledPress(press=press, line=line, lines=lines))
        elif (
            "token" not in line.data
            and (rows := lines_by_request.get(str(line.data.get("request")))) is not None
        ):
            rows.append(line)
    return presses
