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

import math
import secrets
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from django.conf import settings

from killswitch.audit.canonical_json import utc_text
from killswitch.break_glass import holders
from killswitch.break_glass.exchange_snapshot import KnownExchange, Snapshot
from killswitch.break_glass.journal_reader import JournalReader, Line
from killswitch.cancels.states import FINAL, Status
from killswitch.runtime.text import clean_line, error_line

ORIGIN = "BREAK_GLASS"
MAX_REASON_CHARS = 500  # as in the console

PRESS, SENDING, ATTEMPT, END = "PRESS", "SENDING", "ATTEMPT", "END"
CARRIED_ON = "CARRIED_ON"  # a request of the log, whose database went away; its lines follow
# How long after its deadline the last line of a request is written at the latest.
MAX_OVERTIME_S = 60.0
# A request whose process died is carried on by others, unless its last line is older than this: a
# cancel that is no longer expected is not sent unless a person requests it.
MAX_RESUMED_AGE_S = 120.0
# What parsing and converting the data of another version may raise.
ERRORS = (ValueError, TypeError, LookupError, AttributeError, OverflowError)


class UnreadableLine(ValueError):
    """This software cannot read the data of a line, perhaps of another version; it says why."""


@dataclass(frozen=True, kw_only=True)
class PressedExchange:
    """One request of a press. Times are UTC texts."""

    request: str  # its UUID
    exchange_id: str
    ever_listed: bool = False
    open_before: int | None = None
    open_before_seen_at: str | None = None

    @classmethod
    def of(cls, exchange_id: str, known: KnownExchange | None) -> Self:
        """Return a request with what the snapshot knows of its exchange."""
        return cls(
            request=str(uuid.uuid4()),
            exchange_id=exchange_id,
            ever_listed=known is not None and known.ever_listed,
            open_before=known.open_orders if known else None,
            open_before_seen_at=known.seen_at if known else None,
        )


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
    def of_line(cls, line: Line) -> Self:
        """Return the press of a PRESS line. Raises `UnreadableLine`."""
        try:
            requests = tuple(PressedExchange(**request) for request in line.data["requests"])
            press = cls(**{**line.data, "requests": requests})
            for text in (press.press, *(request.request for request in requests)):
                uuid.UUID(text)
            time_of(press.asked_at)
            time_of(line.at)
            if not (requests and math.isfinite(press.deadline_ms) and "\0" not in press.holder):
                raise ValueError("it names no request, or a wrong deadline or holder")
        except ERRORS as error:
            raise UnreadableLine(f"line {line.seq}: {error_line(error)}") from error
        return press

    @property
    def uuid(self) -> str:
        return self.press

    @property
    def data(self) -> dict[str, Any]:
        return asdict(self)

    def new_states(self) -> list["RequestState"]:
        """Return what is known of its requests before anything was sent."""
        return [
            RequestState(request=request.request, exchange_id=request.exchange_id)
            for request in self.requests
        ]


@dataclass(frozen=True, kw_only=True)
class Presser:
    """Who makes a press, as the log names them, and where from."""

    user_id: int | None = None
    name: str
    role: str
    address: str = ""
    user_agent: str = ""
    gesture: str


def new_press(  # noqa: PLR0913 - who cancels what, and why
    exchange_ids: Sequence[str],
    *,
    everywhere: bool,
    snapshot: Snapshot | None,
    by: Presser,
    reason: str,
    nonce: str = "",
) -> Press:
    """Return a press of now, with what the snapshot knows of its exchanges.

    Without the nonce of a one-use key it has one of its own.
    """
    text = clean_line(reason, max_chars=MAX_REASON_CHARS)
    return Press(
        press=str(uuid.uuid4()),
        nonce=nonce or secrets.token_urlsafe(16),
        user_id=by.user_id,
        by_name=by.name,
        by_role=by.role,
        asked_at=utc_text(datetime.now(UTC)),
        reason=text,
        reason_altered=text != reason.strip(),
        origin=ORIGIN,
        address=clean_line(by.address, max_chars=100),
        user_agent=clean_line(by.user_agent, max_chars=500),
        gesture=clean_line(by.gesture, max_chars=100),
        everywhere=everywhere,
        deadline_ms=round(settings.CANCEL_DEADLINE * 1000),
        holder=holders.own_name(settings.KILLSWITCH_HOME),
        requests=tuple(
            PressedExchange.of(exchange_id, snapshot.find(exchange_id) if snapshot else None)
            for exchange_id in exchange_ids
        ),
    )


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
    def uuid(self) -> str:
        return self.press.uuid

    @property
    def is_over(self) -> bool:
        return all(any(line.kind == END for line in lines) for lines in self.lines.values())

    @property
    def states(self) -> list[RequestState]:
        """Return what the lines say of its requests."""
        states = self.press.new_states()
        for state in states:
            state.status = Status.SENDING  # the press announces the first POST
            for line in self.lines[state.request]:
                with suppress(*ERRORS):  # the recovery raises an alarm about such a line
                    state.apply(line.kind, line.data)
        return states

    def may_be_carried_out(self, home: Path) -> bool:
        """Return False if the process that carried it out is known to be dead."""
        age_s = abs((datetime.now(UTC) - time_of(self.last.at)).total_seconds())
        limit_s = self.press.deadline_ms / 1000 + MAX_OVERTIME_S
        if self.press.holder:
            # On a full disk the last lines are missing. It is too late then to carry it on.
            is_recent = age_s < max(limit_s, MAX_RESUMED_AGE_S)
            return is_recent and holders.is_alive(home, self.press.holder)
        return age_s < limit_s

    @property
    def last(self) -> Line:
        """Return its newest line."""
        newest = [lines[-1] for lines in self.lines.values() if lines]
        return max([self.line, *newest], key=lambda line: line.seq)


def time_of(text: str) -> datetime:
    """Return a time of the journal. Raises ValueError and TypeError."""
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"{text} has no time zone")
    return at


def journaled_presses(reader: JournalReader) -> list[JournaledPress]:
    """Return the presses that this installation has sealed and can read, oldest first."""
    presses = []
    lines_by_request: dict[str, list[Line]] = {}
    for line in reader.lines:
        if not line.is_sealed_here:
            continue
        if line.kind == PRESS:
            try:
                press = Press.of_line(line)
            except UnreadableLine:
                continue
            lines: dict[str, list[Line]] = {row.request: [] for row in press.requests}
            lines_by_request |= lines
            presses.append(JournaledPress(press=press, line=line, lines=lines))
        elif (
            "token" not in line.data
            and (rows := lines_by_request.get(str(line.data.get("request")))) is not None
        ):
            rows.append(line)
    return presses
