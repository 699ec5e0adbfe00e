"""The presses of this process, from memory, and those of others on this host, from the journal."""

import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from django.conf import settings

from killswitch.break_glass import cancelling, holders
from killswitch.break_glass.cancelling import RunningPress
from killswitch.break_glass.journal import Journal, NonceUsed
from killswitch.break_glass.journal_record import MAX_WAIT_S, TimedJournal
from killswitch.break_glass.press import PRESS, Press, RequestState
from killswitch.cancels.conclusion import CALM_REFUSAL, NEVER_LISTED
from killswitch.cancels.states import Status

MAX_KEPT = 200  # presses in memory; of more, the oldest are read from the journal
RECENT = timedelta(minutes=15)


@dataclass(frozen=True, kw_only=True)
class ShownPress:
    """A press as a page shows it."""

    press: Press
    states: Sequence[RequestState]
    is_over: bool
    is_own: bool  # carried out by this process
    is_interrupted: bool = False  # by the end of the process that carried it out

    @property
    def asked_at(self) -> datetime:
        return datetime.fromisoformat(self.press.asked_at)

    @property
    def confirmed(self) -> int:
        return sum(
            state.status is Status.CONFIRMED and NEVER_LISTED not in state.sentence
            for state in self.states
        )

    @property
    def running(self) -> int:
        return 0 if self.is_over else sum(not state.is_final for state in self.states)

    @property
    def not_confirmed(self) -> int:
        """Return how many ended otherwise; a refusal without open orders is not among them."""
        refused = sum(
            state.status is Status.REJECTED and CALM_REFUSAL in state.sentence
            for state in self.states
        )
        return len(self.states) - self.confirmed - self.running - refused

    @property
    def outcomes(self) -> list[tuple[RequestState, Status]]:
        """Return the requests and their statuses; one that ended without an outcome is UNKNOWN."""
        return [
            (state, Status.UNKNOWN if self.is_over and not state.is_final else state.status)
            for state in self.states
        ]

    @property
    def not_journaled(self) -> list[str]:
        """Return why lines are missing in the journal; empty if it has all of them."""
        return sorted({state.not_journaled for state in self.states if state.not_journaled})


@dataclass(frozen=True, kw_only=True)
class _Start:
    """The start of a press by its nonce; others with the same nonce wait for it."""

    uuid: list[str] = field(default_factory=list)
    is_over: threading.Event = field(default_factory=threading.Event)


_lock = threading.Lock()
_presses: dict[str, RunningPress] = {}
_starts: dict[str, _Start] = {}


class _Unrecorded:
    count = 0


def start(press: Press, *, journal: TimedJournal) -> str:
    """Carry a press out once for its nonce, and return the UUID of the press that does so."""
    # The journal compares nonces as well; here they hold even without one.
    with _lock:
        earlier = _starts.get(press.nonce)
        own = _starts.setdefault(press.nonce, _Start())
    if earlier:
        earlier.is_over.wait(MAX_WAIT_S + 1)
        return earlier.uuid[0]
    own.uuid.append(press.press)
    try:
        running = cancelling.start(press, journal=journal)
    except NonceUsed as error:
        own.uuid[0] = error.press
        return error.press
    finally:
        own.is_over.set()
    with _lock:
        _presses[press.press] = running
        while len(_presses) > MAX_KEPT:
            del _presses[next(iter(_presses))]
    return press.press


def find(uuid: str) -> ShownPress | None:
    """Return a press of this host, None if there is none. Raises `OSError`."""
    if running := _presses.get(uuid):
        return _shown(running)
    return _journaled().get(uuid)


def recent() -> list[ShownPress]:
    """Return the presses of this host of the last 15 minutes, the newest first.

    Without those of other processes if the journal cannot be read.
    """
    presses: dict[str, ShownPress] = {}
    with suppress(OSError):
        presses |= _journaled()
    presses |= {uuid: _shown(running) for uuid, running in list(_presses.items())}
    since = datetime.now(UTC) - RECENT
    shown = [press for press in presses.values() if press.asked_at >= since]
    return sorted(shown, key=lambda press: press.asked_at, reverse=True)


def note_unrecorded(count: int) -> None:
    """Remember how many presses of this host still run, and so are not in the log yet."""
    _Unrecorded.count = count


def unrecorded() -> int:
    """Return how many presses of this host ran when its journal was last recovered."""
    return _Unrecorded.count


def _shown(running: RunningPress) -> ShownPress:
    return ShownPress(
        press=running.press, states=running.states, is_over=running.is_over, is_own=True
    )


def _journaled() -> dict[str, ShownPress]:
    """Return the presses of the journal by their UUIDs. Raises `OSError`."""
    home = Path(settings.KILLSWITCH_HOME)
    presses = _read_journal(home)
    gone = {uuid for uuid, press in presses.items() if not press.is_over and _is_gone(press, home)}
    if gone:
        # What is read after a process was found gone has all of its lines.
        presses = _read_journal(home)
    for uuid in gone & presses.keys():
        press = presses[uuid]
        if not press.is_over:
            presses[uuid] = replace(press, is_over=True, is_interrupted=True)
    return presses


def _read_journal(home: Path) -> dict[str, ShownPress]:
    presses: dict[str, Press] = {}
    states: dict[str, RequestState] = {}
    for line in Journal(home).read().lines:
        if not line.is_sealed_here:
            continue
        if line.kind == PRESS:
            press = Press.from_data(line.data)
            presses[press.press] = press
            for row in press.requests:
                states[row.request] = RequestState(
                    request=row.request, exchange_id=row.exchange_id, status=Status.SENDING
                )
        elif state := states.get(str(line.data.get("request"))):
            state.apply(line.kind, line.data)
    shown = {}
    for uuid, press in presses.items():
        rows = [states[row.request] for row in press.requests]
        shown[uuid] = ShownPress(
            press=press, states=rows, is_over=all(row.is_final for row in rows), is_own=False
        )
    return shown


def _is_gone(shown: ShownPress, home: Path) -> bool:
    """Return whether the process that carries it out is known to have ended."""
    holder = shown.press.holder
    return bool(holder) and not holders.is_alive(home, holder)
