"""What pages show of Holds, read from the rows with the time of the database's clock."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import time
from typing import Self

from django.conf import settings
from django.db.models import Q
from django.db.models.functions import Now

from killswitch.accounts.models import User
from killswitch.cancels.models import Batch
from killswitch.exchanges.models import Exchange
from killswitch.holds.models import Episode, Hold, HoldQuerySet, HoldState
from killswitch.holds.services import RELEASE_VALID_FOR, Act, is_same_person
from killswitch.runtime.age import Age, age, ago
from killswitch.runtime.compiled_query import CompiledQuery

# By how much a list may be later than planned before a page asks whether the Hold is enforced.
LATE_READ = timedelta(seconds=5)
MAX_EPISODES = 5
PRESS_TAKES_AT_MOST = timedelta(minutes=1)  # from the click to its commit


def release_ends_at(hold: Hold) -> datetime | None:
    """Return until when the release can be confirmed; None if it is not requested."""
    requested_at = hold.release_requested_at
    return requested_at + RELEASE_VALID_FOR if requested_at else None


def unread_after_ms() -> int:
    """Return the age of the last list from which on a Hold may not be enforced."""
    return round((LATE_READ.total_seconds() + settings.HOLD_INTERVAL) * 1000)


_active_holds = CompiledQuery(lambda: Hold.objects.active().annotate(now=Now()))


@dataclass(frozen=True, kw_only=True)
class HoldView:
    """A Hold, and how old the last list of its exchange is."""

    hold: Hold
    now: datetime  # by the database's clock

    @property
    def read_age(self) -> Age:
        """Return the age of the last list, or of the Hold if there has been none."""
        return age(at=self.hold.last_read_at or self.hold.started_at, now=self.now)

    @property
    def is_unread(self) -> bool:
        """Return True if it is not certain that the Hold is enforced."""
        return not self.read_age.within(unread_after_ms() / 1000)

    @property
    def unread_text(self) -> str:
        """Return e.g. "not enforced? last read 25 s ago"; static/js/holds.js says the same."""
        # A list that cannot be read is old even while the Hold is enforced.
        return self._age_text if self.hold.blind_since else f"not enforced? {self._age_text}"

    @property
    def read_text(self) -> str:
        """Return how old the last list is, with a doubt if there is one."""
        return self.unread_text if self.is_unread else self._age_text

    @property
    def _age_text(self) -> str:
        if self.read_age.seconds is None:  # a clock was set back
            return "read at an unknown time"
        if self.hold.last_read_at is None:
            return "never read by the Hold"
        return f"last read {ago(self.read_age.seconds)}"

    @property
    def is_release_requested(self) -> bool:
        """Return True while the release can be confirmed; a lapse may not be recorded yet."""
        ends_at = release_ends_at(self.hold)
        return (
            self.hold.state == HoldState.RELEASE_REQUESTED
            and ends_at is not None
            and self.now <= ends_at
        )


def active_holds() -> dict[int, HoldView]:
    """Return the active Holds by the primary keys of their exchanges, in one query."""
    views = [HoldView(hold=hold, now=hold.now) for hold in _active_holds.objects()]
    return {view.hold.configured_exchange_id: view for view in views}


def view_of(hold: Hold) -> HoldView:
    """Return the Hold as it is now, with the time of the database's clock."""
    return _views(Hold.objects.filter(pk=hold.pk))[0]


def newest_hold(exchange: Exchange) -> HoldView | None:
    """Return the active Hold of an exchange, else its last one."""
    views = _views(Hold.objects.filter(configured_exchange=exchange).order_by("-id")[:1])
    return views[0] if views else None


@dataclass(frozen=True, kw_only=True)
class HeldSummary:
    """How many exchanges are held, and since when, as the header of every page says."""

    holds: Sequence[HoldView]

    @classmethod
    def now(cls) -> Self:
        return cls(holds=list(active_holds().values()))

    @property
    def count(self) -> int:
        return len(self.holds)

    @property
    def since(self) -> datetime | None:
        return min((view.hold.started_at for view in self.holds), default=None)

    @property
    def blind(self) -> list[int]:
        """The keys of the exchanges of which the list cannot be read."""
        holds = [view.hold for view in self.holds]
        return [hold.configured_exchange_id for hold in holds if hold.blind_since]

    @property
    def unread(self) -> int:
        """How many Holds may not be enforced; blind ones are counted apart."""
        return sum(view.is_unread and not view.hold.blind_since for view in self.holds)

    @property
    def reads(self) -> str:
        """Return when each list was last read, for the page's scripts.

        Of each exchange its key and milliseconds since 1970 by this host's clock, which the page
        knows; "unknown" if a clock was set back. A minus in front of them: it was never read, and
        the Hold began then.
        """
        return " ".join(
            f"{view.hold.configured_exchange_id}:{_read_at(view)}" for view in self.holds
        )


@dataclass(frozen=True, kw_only=True)
class BatchHolds:
    """What a press "cancel and hold" has held, and what was held already."""

    started: Sequence[Hold]
    released: Sequence[Hold]
    earlier: Sequence[Hold]

    @classmethod
    def of(cls, batch: Batch) -> Self:
        """Read the Holds that a batch has started, and those that its exchanges had before."""
        own = list(batch.holds.order_by("exchange_id"))
        others = batch.requests.exclude(
            configured_exchange__in=[hold.configured_exchange_id for hold in own]
        )
        # Active at the press; another one may have begun while the press was being recorded.
        active_then = Hold.objects.filter(
            Q(released_at=None) | Q(released_at__gte=batch.asked_at),
            configured_exchange__in=others.values("configured_exchange"),
            started_at__lte=batch.asked_at + PRESS_TAKES_AT_MOST,
        )
        # Of an exchange that was released and held again since, the first one.
        earlier = {hold.exchange_id: hold for hold in active_then.order_by("-id")}
        return cls(
            started=[hold for hold in own if hold.is_active],
            released=[hold for hold in own if not hold.is_active],
            earlier=sorted(earlier.values(), key=lambda hold: hold.exchange_id),
        )


@dataclass(frozen=True, kw_only=True)
class ReleasePage:
    """One exchange with its newest Hold, and what this person can do about its release."""

    exchange: Exchange
    view: HoldView | None
    episodes: Sequence[Episode]
    is_requester: bool

    @classmethod
    def of(cls, exchange: Exchange, *, user: User) -> Self:
        """Read the page as this person sees it."""
        view = newest_hold(exchange)
        if view is None:
            return cls(exchange=exchange, view=None, episodes=(), is_requester=False)
        hold = view.hold
        return cls(
            exchange=exchange,
            view=view,
            episodes=list(hold.episodes.select_related("request")[:MAX_EPISODES]),
            is_requester=view.is_release_requested and is_same_person(hold, act=Act.of_user(user)),
        )

    @property
    def hold(self) -> Hold | None:
        return self.view.hold if self.view else None

    @property
    def state(self) -> str:
        """Return what can be done now: request a release, confirm it, or nothing ("RELEASED")."""
        if not self.view or not self.view.hold.is_active:
            return HoldState.RELEASED
        is_requested = self.view.is_release_requested
        return HoldState.RELEASE_REQUESTED if is_requested else HoldState.ACTIVE

    @property
    def more_episodes(self) -> int:
        return max(0, self.hold.episode_count - len(self.episodes)) if self.hold else 0


def _read_at(view: HoldView) -> str:
    seconds = view.read_age.seconds
    if seconds is None:
        return "unknown"
    at_ms = round((time() - seconds) * 1000)
    return f"-{at_ms}" if view.hold.last_read_at is None else str(at_ms)


def _views(holds: HoldQuerySet) -> list[HoldView]:
    # `vars`, because the type of a model does not know its annotations.
    return [HoldView(hold=hold, now=vars(hold)["now"]) for hold in holds.annotate(now=Now())]
