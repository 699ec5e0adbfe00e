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
from typing import Any, Self

from killswitch.cancels.states import FINAL, Status

PRESS, SENDING, ATTEMPT, END = "PRESS", "SENDING", "ATTEMPT", "END"
CARRIED_ON = "CARRIED_ON"  # a request of the log, whose database went away; its lines follow


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
