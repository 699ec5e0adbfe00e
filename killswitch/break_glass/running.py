"""The presses of this process, from memory, and those of others on this host, from the journal."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from django.conf import settings

from killswitch.break_glass import cancelling
from killswitch.break_glass.cancelling import RunningPress
from killswitch.break_glass.journal import Journal, NonceUsed
from killswitch.break_glass.journal_record import MAX_WAIT_S, TimedJournal
from killswitch.break_glass.press import PRESS, Press, RequestState
from killswitch.break_glass.reading import ERRORS, press_of
from killswitch.cancels.states import Status

MAX_KEPT = 200  # presses in memory; of more, the oldest are read from the journal
MAX_STARTS = 10_000  # nonces in memory; their keys are valid for ten minutes


@dataclass(frozen=True, kw_only=True)
class ShownPress:
    """A press as a page shows it."""

    press: Press
    states: Sequence[RequestState]
    is_over: bool
    is_own: bool  # carried out by this process

    @property
    def confirmed(self) -> int:
        return sum(state.status is Status.CONFIRMED for state in self.states)

    @property
    def running(self) -> int:
        return sum(not state.is_final for state in self.states)

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
        while len(_starts) > MAX_STARTS:
            del _starts[next(iter(_starts))]
    return press.press


def find(uuid: str) -> ShownPress | None:
    """Return a press of this host, None if there is none. Raises `OSError`."""
    if running := _presses.get(uuid):
        return ShownPress(
            press=running.press, states=running.states, is_over=running.is_over, is_own=True
        )
    reader = Journal(Path(settings.KILLSWITCH_HOME)).read()
    press: Press | None = None
    states: dict[str, RequestState] = {}
    for line in reader.lines:
        is_press = line.kind == PRESS and line.data.get("press") == uuid
        state = states.get(str(line.data.get("request")))
        if not (is_press or state) or not line.is_sealed_here:
            continue
        try:
            if is_press:
                press = press_of(line)
                states = {
                    row.request: RequestState(request=row.request, exchange_id=row.exchange_id)
                    for row in press.requests
                }
            elif state:
                state.apply(line.kind, line.data)
        except ERRORS:  # the recovery raises an alarm about it
            continue
    if press is None:
        return None
    rows = list(states.values())
    return ShownPress(
        press=press, states=rows, is_over=all(row.is_final for row in rows), is_own=False
    )
