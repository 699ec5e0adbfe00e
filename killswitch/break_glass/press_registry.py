"""The presses of this process, from memory, and those of others on this host, from the journal."""

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import structlog
from django.conf import settings

from killswitch.break_glass import execution
from killswitch.break_glass.execution import RunningPress
from killswitch.break_glass.journal import MAX_WAIT_S, Journal, NonceUsed, host_journal
from killswitch.break_glass.press import Press, RequestState, journaled_presses
from killswitch.cancels.conclusion import CALM_REFUSAL, NEVER_LISTED
from killswitch.cancels.states import Status

MAX_KEPT = 200  # presses in memory; of more, the oldest are read from the journal
RECENT = timedelta(minutes=15)
LIMIT_WINDOW_S = 60.0
MAX_PRESSES = 5  # of one person on one exchange in the window
# On all exchanges together. No person reaches it: only a script, by IDs that do not exist.
MAX_REQUESTS = 10_000
MAX_STARTS = 10_000  # nonces in memory; their keys are valid for ten minutes

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class ShownPress:
    """A press as a page shows it."""

    press: Press
    states: Sequence[RequestState]
    is_over: bool
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


@dataclass(kw_only=True)
class _Start:
    """The start of a press by its nonce; others with the same nonce wait for it."""

    uuid: str
    is_over: threading.Event = field(default_factory=threading.Event)


class PressLimit:
    """Limits repeated presses of one person in this process, and never refuses a first one."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._presses: defaultdict[int, dict[str, deque[float]]] = defaultdict(dict)
        self._nonces: dict[str, float] = {}

    def allows(self, user_id: int, exchange_ids: Sequence[str], *, nonce: str) -> bool:
        """Count a press once for its nonce, and return True.

        Return False if every one of its exchanges had too many presses.
        """
        now = self._clock()
        with self._lock:
            since = now - LIMIT_WINDOW_S
            self._nonces = {key: at for key, at in self._nonces.items() if at > since}
            if nonce in self._nonces:
                return True
            for user, counters in list(self._presses.items()):
                self._presses[user] = _recent(counters, since=since)
                if not self._presses[user]:
                    del self._presses[user]
            own = self._presses[user_id]
            is_flood = all(len(own.get(name, ())) >= MAX_PRESSES for name in exchange_ids)
            if is_flood or sum(map(len, own.values())) + len(exchange_ids) > MAX_REQUESTS:
                return False
            for name in exchange_ids:
                own.setdefault(name, deque()).append(now)
            self._nonces[nonce] = now
        return True


def _recent(counters: dict[str, deque[float]], *, since: float) -> dict[str, deque[float]]:
    """Return the counters without what is older; those without anything newer are dropped."""
    recent = {name: deque(at for at in times if at > since) for name, times in counters.items()}
    return {name: times for name, times in recent.items() if times}


class PressRegistry:
    """The presses of one process. Its methods may be called from any number of threads at once."""

    def __init__(self) -> None:
        self.limit = PressLimit()
        self.pending = 0  # presses of this host that ran when its journal was last recovered
        self._lock = threading.Lock()
        self._starts: dict[str, _Start] = {}  # by nonce
        self._presses: dict[str, RunningPress] = {}  # by UUID, oldest first

    def start(self, press: Press) -> str:
        """Carry a press out once for its nonce, and return the UUID of the press that does so."""
        # The journal compares nonces as well; here they hold even without one.
        own = _Start(uuid=press.uuid)
        with self._lock:
            first = self._starts.setdefault(press.nonce, own)
        if first is not own:
            first.is_over.wait(MAX_WAIT_S + 1)
            return first.uuid
        try:
            running = execution.start(press, journal=host_journal())
        except NonceUsed as error:
            own.uuid = error.press
            return error.press
        finally:
            own.is_over.set()
        with self._lock:
            self._presses[press.uuid] = running
            while len(self._presses) > MAX_KEPT:
                del self._presses[next(iter(self._presses))]
            while len(self._starts) > MAX_STARTS:
                del self._starts[next(iter(self._starts))]
        return press.uuid

    def find(self, uuid: str) -> ShownPress | None:
        """Return a press of this host, None if there is none. Raises `OSError`."""
        if running := self._presses.get(uuid):
            return _shown(running)
        return _journaled().get(uuid)

    def recent(self) -> list[ShownPress]:
        """Return the presses of this host of the last 15 minutes, the newest first.

        Without those of other processes if the journal cannot be read.
        """
        presses: dict[str, ShownPress] = {}
        try:
            presses |= _journaled()
        except OSError as error:
            log.warning("journal_not_read", error=error.strerror or str(error))
        with self._lock:
            presses |= {uuid: _shown(running) for uuid, running in self._presses.items()}
        since = datetime.now(UTC) - RECENT
        shown = [press for press in presses.values() if press.asked_at >= since]
        return sorted(shown, key=lambda press: press.asked_at, reverse=True)


PROCESS = PressRegistry()  # the presses of this process


def _shown(running: RunningPress) -> ShownPress:
    return ShownPress(press=running.press, states=running.states, is_over=running.is_over)


def _journaled() -> dict[str, ShownPress]:
    """Return the presses of the journal by their UUIDs. Raises `OSError`."""
    home = settings.KILLSWITCH_HOME
    presses = journaled_presses(Journal(home).read())
    dead = {
        press.uuid for press in presses if not press.is_over and not press.may_be_carried_out(home)
    }
    if dead:
        # What is read after a process was found dead has all of its lines.
        presses = journaled_presses(Journal(home).read())
    shown = {}
    for press in presses:
        is_interrupted = press.uuid in dead and not press.is_over
        shown[press.uuid] = ShownPress(
            press=press.press,
            states=press.states,
            is_over=press.is_over or is_interrupted,
            is_interrupted=is_interrupted,
        )
    return shown
