"""The exchanges, and the EMS's last list of their open orders."""

from typing import Any

from django.db import models
from django.db.models.functions import Lower

from killswitch.runtime.revisions import Revisioned

# The columns that administrators set; each change of them is an event.
WATCHED = (
    "exchange_id",
    "name",
    "enabled",
    "position",
    "caveat",
    "contact",
    "emergency_phone",
    "member_ids",
    "session_ids",
    "what_they_ask",
)


class ExchangeQuerySet(models.QuerySet["Exchange"]):
    """Exchanges by what can be done with them."""

    def enabled(self) -> "ExchangeQuerySet":
        return self.filter(enabled=True)


class Exchange(Revisioned):
    """One exchange ID at the EMS that this console can cancel on.

    `exchange_id` is opaque: it may carry an account tag (`KRAKEN/JOHN`), is compared whole, and
    never becomes part of a URL path.
    """

    exchange_id = models.CharField("exchange ID", max_length=200, unique=True)
    name = models.CharField(max_length=200, blank=True)
    enabled = models.BooleanField(default=True)
    position = models.IntegerField(default=0, help_text="Lower numbers come first.")
    caveat = models.CharField(
        "known limits",
        max_length=500,
        blank=True,
        help_text="What a cancel does not cover there, e.g. conditional orders held at the"
        " exchange. Shown before a cancel is confirmed.",
    )
    contact = models.CharField(
        "who to call",
        max_length=300,
        blank=True,
        default="",
        db_default="",
        help_text="The person or desk to ask about a cancel that failed there, with a telephone"
        " number. Shown next to a failed cancel. The desk that cancels by telephone has a field of"
        " its own.",
    )
    emergency_phone = models.CharField(
        "emergency desk",
        max_length=100,
        blank=True,
        default="",
        db_default="",
        help_text="The telephone number, as dialled from your desk, at which the exchange cancels"
        " orders on request at any hour. The largest line of the telephone card.",
    )
    member_ids = models.CharField(
        "member IDs",
        max_length=300,
        blank=True,
        default="",
        db_default="",
        help_text="Who you are there: the member, firm or account codes that the desk asks for."
        " On the telephone card.",
    )
    session_ids = models.CharField(
        "session IDs",
        max_length=500,
        blank=True,
        default="",
        db_default="",
        help_text="The sessions whose orders the desk is to cancel, e.g. FIX SenderCompIDs. On the"
        " telephone card.",
    )
    what_they_ask = models.CharField(
        "what they ask",
        max_length=500,
        blank=True,
        default="",
        db_default="",
        help_text="What the desk asks before it cancels, e.g. a call back, and who may answer. On"
        " the telephone card, which is printed and saved: never enter a password or a PIN, only"
        " where it is kept.",
    )
    open_orders = models.PositiveIntegerField(null=True, editable=False)
    seen_at = models.DateTimeField(null=True, editable=False)
    # When the EMS was first seen to list an open order of it. An ID that it never lists may be
    # misspelled, or one that this EMS does not know.
    first_listed_at = models.DateTimeField(null=True, editable=False)
    # When the observer last found its orders as `OpenOrderList` has them. Written with `seen_at`.
    orders_read_at = models.DateTimeField(null=True, editable=False)

    objects = ExchangeQuerySet.as_manager()

    class Meta:
        ordering = ["position", "exchange_id"]

    def __str__(self) -> str:
        return self.exchange_id

    @property
    def label(self) -> str:
        return self.name or self.exchange_id

    @property
    def recorded_values(self) -> dict[str, Any]:
        """Return what the event of an exchange that was not added by a person holds."""
        return {name: getattr(self, name) for name in WATCHED if name != "exchange_id"}

    @property
    def is_never_listed(self) -> bool:
        """Return True if the EMS has never listed an order of this ID, as far as is known here.

        It may be misspelled, and then a cancel on it reaches nothing.
        """
        return self.first_listed_at is None and not self.open_orders


NAME_TAKEN = "There is already a group with this name. If you have just added it, it was saved."


class ExchangeGroup(Revisioned):
    """Exchanges that are cancelled together, named by administrators, e.g. "Desk A"."""

    name = models.CharField(max_length=100, unique=True)
    position = models.IntegerField(default=0, help_text="Lower numbers come first.")
    exchanges = models.ManyToManyField(Exchange, related_name="groups", blank=True)

    class Meta:
        ordering = ["position", "name"]
        constraints = [
            models.UniqueConstraint(
                Lower("name"),
                name="groups_differ_by_more_than_letter_case",
                violation_error_message=NAME_TAKEN,
            )
        ]

    def __str__(self) -> str:
        return self.name


class Runbook(Revisioned):
    """What people do and who they call when a cancel fails: one text, kept by administrators."""

    text = models.TextField(max_length=5000, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(id=1), name="there_is_one_runbook")
        ]

    def __str__(self) -> str:
        return self.text[:50]


class OpenOrderList(Revisioned):
    """The open orders of one exchange that the EMS last listed; written when they change.

    An exchange without open orders may have no row. `orders` holds the first ones, each with
    `first_seen_at`, when the observer first saw it; `total` counts all of them.
    """

    configured_exchange = models.OneToOneField(
        Exchange, on_delete=models.CASCADE, primary_key=True, related_name="order_list"
    )
    orders = models.JSONField(default=list)
    total = models.PositiveIntegerField(default=0)
    # Among the total: rows that do not name an exchange, of a list for this one.
    unnamed = models.PositiveIntegerField(default=0)
    read_at = models.DateTimeField()  # the list that is stored; later ones were the same

    def __str__(self) -> str:
        return f"{self.configured_exchange_id}: {self.total}"


class OpenOrderSample(models.Model):
    """The lowest and the highest number of open orders that were read in one minute."""

    configured_exchange = models.ForeignKey(
        Exchange, on_delete=models.CASCADE, related_name="samples", db_index=False
    )
    minute = models.DateTimeField(db_index=True)  # its first second, by the observer's clock
    lowest = models.PositiveIntegerField()
    highest = models.PositiveIntegerField()

    class Meta:
        ordering = ["minute"]
        constraints = [
            models.UniqueConstraint(
                fields=["configured_exchange", "minute"], name="an_exchange_has_one_sample_a_minute"
            )
        ]

    def __str__(self) -> str:
        return f"{self.configured_exchange_id} {self.minute:%H:%M}: {self.lowest}-{self.highest}"


class UncoveredExchange(models.Model):
    """An exchange ID with open orders at the EMS that is not enabled here."""

    exchange_id = models.CharField("exchange ID", max_length=500, unique=True)
    open_orders = models.PositiveIntegerField()

    class Meta:
        ordering = ["exchange_id"]

    def __str__(self) -> str:
        return self.exchange_id


class Observation(Revisioned):
    """The observer's last read of all open orders, and the lease of the active observer.

    `seen_at` is the last read that worked; `error` is why the latest one did not, empty if it did.
    """

    seen_at = models.DateTimeField(null=True)
    error = models.TextField(blank=True)
    lease_token = models.CharField(db_column="observer", max_length=200, blank=True)
    lease_beats = models.BigIntegerField(db_column="counter", default=0)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(id=1), name="there_is_one_observation")
        ]

    def __str__(self) -> str:
        return self.error or f"seen {self.seen_at}"
