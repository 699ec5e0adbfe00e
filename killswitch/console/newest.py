"""The newest revision and observation, and which of them the pages of one moment share."""

from datetime import datetime
from time import monotonic
from typing import NamedTuple

from django.db.models import Subquery

from killswitch.alarms.models import Alarm
from killswitch.exchanges.models import Observation
from killswitch.holds.models import Hold
from killswitch.runtime.compiled_query import CompiledQuery
from killswitch.runtime.revisions import Revision

SHARED_FOR_S = 0.4


class Newest(NamedTuple):
    """The newest revision and observation, read before any row."""

    revision: int
    observed_at: datetime | None
    read_at: float  # monotonic seconds
    alarm_revision: int = -1  # of the newest change of an alarm
    hold_revision: int = -1


class SharedNewest:
    """What the pages of a moment take for the newest."""

    def __init__(self, *, max_age_s: float = SHARED_FOR_S) -> None:
        self.max_age_s = max_age_s
        self._newest: Newest | None = None

    def of(self, newest: Newest, *, since: int) -> Newest:
        """Return what another page read a moment ago, if that is new to the page, else `newest`."""
        shared = self._of_this_moment(newest)
        return shared if since < shared.revision <= newest.revision else self._share(newest)

    def same_as(self, newest: Newest) -> Newest:
        """Return what another page read a moment ago, if nothing has changed, else `newest`."""
        shared = self._of_this_moment(newest)
        is_same = (shared.revision, shared.observed_at) == (newest.revision, newest.observed_at)
        return shared if is_same else self._share(newest)

    def _of_this_moment(self, newest: Newest) -> Newest:
        shared = self._newest
        is_recent = shared is not None and newest.read_at - shared.read_at < self.max_age_s
        return shared if shared and is_recent else self._share(newest)

    def _share(self, newest: Newest) -> Newest:
        self._newest = newest
        return newest


SHARED = SharedNewest()
"""Shared by the pages of this process."""


def read_newest() -> Newest:
    """Return the newest revision and observation: the only query of an idle poll for its page."""
    read_at = monotonic()
    row = _newest.first()
    if row is None:
        raise Revision.DoesNotExist
    revision, observed_at, alarm_revision, hold_revision = row
    return Newest(
        revision=revision,
        observed_at=observed_at,
        read_at=read_at,
        alarm_revision=-1 if alarm_revision is None else alarm_revision,
        hold_revision=-1 if hold_revision is None else hold_revision,
    )


_newest = CompiledQuery(
    lambda: Revision.objects.values_list(
        "value",
        Subquery(Observation.objects.values("seen_at")),
        Subquery(Alarm.objects.order_by("-revision").values("revision")[:1]),
        Subquery(Hold.objects.order_by("-revision").values("revision")[:1]),
    )
)
