"""A Hold on an exchange, its episodes, and the lease of the process that enforces all Holds."""

import uuid
from datetime import timedelta

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from killswitch.cancels.models import Batch, CancelRequest, Origin
from killswitch.exchanges.models import Exchange
from killswitch.runtime.revisions import Revisioned

LASTING_AFTER = timedelta(seconds=30)  # orders that keep appearing for so long are an alarm


class HoldState(models.TextChoices):
    """How far a Hold is from its end. It is enforced until it is released."""

    ACTIVE = "ACTIVE", "Held"
    RELEASE_REQUESTED = "RELEASE_REQUESTED", "Held, release requested"
    RELEASED = "RELEASED", "Released"


class HoldQuerySet(models.QuerySet["Hold"]):
    """Holds by what is done about them."""

    def active(self) -> "HoldQuerySet":
        """Return those that are enforced, also while their release is requested."""
        return self.exclude(state=HoldState.RELEASED)

    def locked(self, *, skip_locked: bool = False) -> "HoldQuerySet":
        """Lock them, with the database's time as `now`. The row of a Hold is locked first."""
        rows = self.select_for_update(no_key=True, of=("self",), skip_locked=skip_locked)
        return rows.select_related("configured_exchange").annotate(now=Now())


class Hold(Revisioned):
    """Cancel the orders that the EMS lists on one exchange, until the Hold is released.

    It never ends by itself. The times of its release and the columns below `last_read_at` are by
    the database's own clock, because several hosts write them.
    """

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    configured_exchange = models.ForeignKey(
        Exchange, on_delete=models.PROTECT, related_name="holds"
    )
    exchange_id = models.CharField(max_length=200)
    state = models.CharField(max_length=20, choices=HoldState.choices, default=HoldState.ACTIVE)
    # The press that started it; None if it was started without a cancel.
    batch = models.ForeignKey(Batch, null=True, on_delete=models.PROTECT, related_name="holds")
    origin = models.CharField(max_length=20, choices=Origin.choices)
    started_at = models.DateTimeField()
    started_by = models.CharField(max_length=200)
    started_role = models.CharField(max_length=30, blank=True)
    reason = models.CharField(max_length=500, blank=True)
    # The latest request to release it; empty again when that has lapsed or was withdrawn.
    release_requested_at = models.DateTimeField(null=True)
    release_requested_by = models.CharField(max_length=200, blank=True)
    release_requested_user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )
    release_requested_role = models.CharField(max_length=30, blank=True)
    release_reason = models.CharField(max_length=500, blank=True)
    released_at = models.DateTimeField(null=True)
    released_by = models.CharField(max_length=200, blank=True)
    released_role = models.CharField(max_length=30, blank=True)
    # The last list of this exchange that could be read, and since when none could be.
    last_read_at = models.DateTimeField(null=True)
    read_error = models.CharField(max_length=500, blank=True)
    blind_since = models.DateTimeField(null=True)
    # Until when the EMS wants no cancel, as it said to the last episode.
    paused_until = models.DateTimeField(null=True)
    # Sums over its episodes.
    episode_count = models.PositiveIntegerField(default=0)
    orders_seen = models.PositiveIntegerField(default=0)
    orders_cancelled = models.PositiveIntegerField(default=0)
    last_order_at = models.DateTimeField(null=True)
    # Since when orders have kept coming, without 10 s in which none was listed.
    orders_since = models.DateTimeField(null=True)

    objects = HoldQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["configured_exchange"],
                condition=~models.Q(state=HoldState.RELEASED),
                name="an_exchange_has_one_active_hold",
            ),
            models.CheckConstraint(
                condition=models.Q(state__in=HoldState.values), name="a_hold_has_a_known_state"
            ),
            models.CheckConstraint(
                condition=models.Q(state=HoldState.RELEASED, released_at__isnull=False)
                | (~models.Q(state=HoldState.RELEASED) & models.Q(released_at=None)),
                name="a_hold_has_ended_exactly_when_it_is_released",
            ),
            models.CheckConstraint(
                condition=models.Q(state=HoldState.ACTIVE, release_requested_at=None)
                | (
                    ~models.Q(state=HoldState.ACTIVE)
                    & models.Q(release_requested_at__isnull=False)
                    & ~models.Q(release_requested_by="")
                ),
                name="a_release_is_requested_before_it_happens",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.exchange_id} {self.state}"

    @property
    def orders_lasted(self) -> timedelta:
        """Return for how long orders have kept appearing, up to the last one that was seen."""
        if self.last_order_at is None or self.orders_since is None:
            return timedelta(0)
        return self.last_order_at - self.orders_since

    @property
    def has_lasting_orders(self) -> bool:
        return self.orders_lasted >= LASTING_AFTER

    @property
    def is_active(self) -> bool:
        return self.state != HoldState.RELEASED


class Episode(models.Model):
    """Orders that were seen under a Hold, and the request that cancelled them.

    It begins with the first order seen, or with a list that cannot be read, and ends when the
    exchange has been empty for 10 s or at the deadline of its request. Times are by the database's
    clock.
    """

    hold = models.ForeignKey(Hold, on_delete=models.PROTECT, related_name="episodes")
    request = models.OneToOneField(CancelRequest, on_delete=models.PROTECT, related_name="episode")
    number = models.PositiveIntegerField()
    # Begun because the list could not be read, not because of an order.
    began_blind = models.BooleanField(default=False)
    orders_seen = models.PositiveIntegerField(default=0)
    # Of those seen: still listed when the episode before ended, and counted in that one as well.
    orders_carried = models.PositiveIntegerField(default=0)
    # Of those seen: no longer listed after a cancel. The EMS does not say whether one was filled.
    orders_cancelled = models.PositiveIntegerField(default=0)
    symbols = models.JSONField(default=list)
    longest_life_ms = models.PositiveIntegerField(default=0)
    first_order_at = models.DateTimeField(null=True)
    last_order_at = models.DateTimeField(null=True)
    # When the oldest order of the last list was first seen: a process that takes over measures the
    # lives of the orders that it finds from then on.
    oldest_open_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["hold", "number"], name="the_episodes_of_a_hold_are_numbered"
            )
        ]

    def __str__(self) -> str:
        return f"{self.hold_id}: {self.number}"


class Enforcement(models.Model):
    """The lease of the process that enforces all Holds, and the last reminder; one row."""

    lease_token = models.CharField(max_length=200, blank=True)
    lease_beats = models.BigIntegerField(default=0)
    reminded_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(id=1), name="holds_are_enforced_once")
        ]

    def __str__(self) -> str:
        return self.lease_token
