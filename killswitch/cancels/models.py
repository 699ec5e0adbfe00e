"""One press (a batch), its request for each exchange, and each call that was made."""

import uuid

from django.conf import settings
from django.db import models

from killswitch.cancels.conclusion import CALM_REFUSAL, NEVER_LISTED_TEXTS
from killswitch.cancels.states import FINAL, IN_FLIGHT, Status
from killswitch.ems.answers import Outcome, RetryAdvice, retry_advice
from killswitch.exchanges.models import Exchange
from killswitch.runtime.revisions import Revisioned

STATUSES = [(str(status), str(status)) for status in Status]
FINAL_VALUES = sorted(str(status) for status in FINAL)
SECOND_LOOKS_AFTER_S = (5, 60)  # after a request has ended CONFIRMED


class Origin(models.TextChoices):
    """Where a press came from."""

    BROWSER = "BROWSER", "Browser"
    COMMAND_LINE = "COMMAND_LINE", "Command line"
    HOLD = "HOLD", "Hold"
    BREAK_GLASS = "BREAK_GLASS", "Break glass"


class Batch(models.Model):
    """One press: a person requested a cancel on one exchange or many."""

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    key = models.CharField(max_length=64, unique=True)
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )
    by_name = models.CharField(max_length=200)
    by_role = models.CharField(max_length=30)
    asked_at = models.DateTimeField()
    reason = models.CharField(max_length=500, blank=True)
    reason_altered = models.BooleanField(default=False)
    completed_reason = models.CharField(max_length=500, blank=True)
    completed_at = models.DateTimeField(null=True)
    origin = models.CharField(max_length=20, choices=Origin.choices)
    address = models.CharField(max_length=100, blank=True)
    user_agent = models.CharField(max_length=500, blank=True)
    gesture = models.CharField(max_length=100, blank=True)
    everywhere = models.BooleanField(default=False)
    # "Cancel and hold": the exchanges are held from this press on.
    hold = models.BooleanField(default=False, db_default=False)
    # The group whose button was used, as it was named then; "" for any other target.
    group_name = models.CharField(max_length=100, blank=True, default="", db_default="")
    # The batch whose failed requests this one repeats.
    retry_of = models.ForeignKey(
        "self", null=True, on_delete=models.PROTECT, related_name="retries", db_index=True
    )
    # What the press did not reach, as it was then: `{"exchange_id", "open_orders", "why"}` each,
    # `why` being "not_enabled" or "disabled". None for a press of a version that did not keep it.
    not_included = models.JSONField(null=True)
    # Where a break-glass press was journaled before it was recorded here: the ID of the journal and
    # the number of the line.
    journal = models.CharField(max_length=60, blank=True, default="", db_default="")

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["asked_at"], name="batches_by_time"),
            models.Index(fields=["origin", "by_name", "-id"], name="batches_by_person"),
        ]

    def __str__(self) -> str:
        return f"{self.by_name} at {self.asked_at:%H:%M:%S}"


class RequestQuerySet(models.QuerySet["CancelRequest"]):
    """Requests by their progress."""

    def in_flight(self) -> "RequestQuerySet":
        return self.filter(status__in=sorted(IN_FLIGHT))

    def final(self) -> "RequestQuerySet":
        return self.filter(status__in=FINAL_VALUES)


class CancelRequest(Revisioned):
    """Cancel all open orders on one exchange. The row is the truth; queues carry only its id."""

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    batch = models.ForeignKey(Batch, on_delete=models.PROTECT, related_name="requests")
    configured_exchange = models.ForeignKey(
        Exchange, on_delete=models.PROTECT, related_name="requests", db_column="entry_id"
    )
    exchange_id = models.CharField(max_length=200)
    status = models.CharField(max_length=20, choices=STATUSES, default=Status.REQUESTED)
    # The EMS's last answer; `conclusion` is ours.
    reject_reason = models.CharField(max_length=200, blank=True)
    message = models.TextField(blank=True)
    rejected_message = models.TextField(blank=True)
    conclusion = models.TextField(blank=True)
    # The observer's figure at the press, and what was read after the last POST had ended.
    open_before = models.PositiveIntegerField(null=True)
    open_before_seen_at = models.DateTimeField(null=True)
    open_after = models.PositiveIntegerField(null=True)
    open_after_read_at = models.DateTimeField(null=True)
    reads = models.PositiveIntegerField(default=0)
    attempt_count = models.PositiveIntegerField(default=0)
    next_attempt_at = models.DateTimeField(null=True)
    # The lease of the process that carries it out, and a count that shows that it is alive.
    lease_token = models.CharField(max_length=100, blank=True, db_column="holder")
    lease_beats = models.BigIntegerField(default=0, db_column="counter")
    first_claimed_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    # `revision` rises again when a reason is added; this one stays.
    finished_revision = models.BigIntegerField(null=True, editable=False)
    # When the EMS listed open orders again soon after CONFIRMED, and how many.
    reopened_at = models.DateTimeField(null=True, editable=False)
    reopened_orders = models.PositiveIntegerField(null=True, editable=False)

    objects = RequestQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        indexes = [
            # Not a partial index: neither database uses one for statuses that are parameters.
            models.Index(fields=["status", "id"], name="requests_by_status"),
            models.Index(fields=["configured_exchange", "-id"], name="requests_of_an_exchange"),
            models.Index(fields=["reject_reason", "-id"], name="requests_by_reject_reason"),
            models.Index(
                fields=["id"],
                condition=models.Q(reopened_at__isnull=False),
                name="requests_reopened",
            ),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["batch", "configured_exchange"], name="a_press_asks_once_for_each_exchange"
            ),
            models.CheckConstraint(
                condition=models.Q(status__in=[str(status) for status in Status]),
                name="a_request_has_a_known_status",
            ),
            models.CheckConstraint(
                condition=models.Q(status__in=FINAL_VALUES, finished_at__isnull=False)
                | (~models.Q(status__in=FINAL_VALUES) & models.Q(finished_at=None)),
                name="a_request_is_finished_exactly_when_its_status_is_final",
            ),
            models.CheckConstraint(
                condition=~models.Q(status=Status.CONFIRMED)
                | (models.Q(open_after=0) & models.Q(open_after_read_at__isnull=False)),
                name="only_an_empty_list_of_open_orders_confirms",
            ),
            models.CheckConstraint(
                condition=~models.Q(status=Status.RESIDUAL) | models.Q(open_after__gt=0),
                name="residual_means_that_orders_were_listed",
            ),
            models.CheckConstraint(
                condition=models.Q(status=Status.REQUESTED)
                | models.Q(first_claimed_at__isnull=False),
                name="nothing_is_sent_before_it_is_claimed",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.exchange_id} {self.status}"

    @property
    def is_final(self) -> bool:
        return self.status in FINAL

    @property
    def is_refused_while_flat(self) -> bool:
        """Return True if the EMS refused and listed no open orders, as many do without orders.

        The conclusion, which is on record, says so. Other refusals with an empty list are alarms.
        """
        return self.status == Status.REJECTED and self.conclusion.startswith(CALM_REFUSAL)

    @property
    def is_never_listed(self) -> bool:
        """Return True if it ended CONFIRMED on an ID that the EMS had never listed.

        Its empty list proves little: the ID may be misspelled. The conclusion is on record.
        """
        is_said = any(text in self.conclusion for text in NEVER_LISTED_TEXTS)
        return self.status == Status.CONFIRMED and is_said

    @property
    def needs_attention(self) -> bool:
        """Return True if the request is over and orders may be open, still or again."""
        is_confirmed = self.status == Status.CONFIRMED and self.reopened_at is None
        is_calm = is_confirmed or self.is_refused_while_flat
        return self.is_final and not is_calm


class Attempt(models.Model):
    """One call to the EMS, or the trace of a dead process that may have made one."""

    request = models.ForeignKey(CancelRequest, on_delete=models.PROTECT, related_name="attempts")
    number = models.PositiveIntegerField()
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField()
    duration_us = models.BigIntegerField(null=True)
    http_status = models.PositiveIntegerField(null=True)
    outcome = models.CharField(max_length=20, choices=[(str(o), str(o)) for o in Outcome])
    may_have_been_carried_out = models.BooleanField()
    reject_reason = models.CharField(max_length=200, blank=True)
    message = models.TextField(blank=True)
    rejected_message = models.TextField(blank=True)
    trace_id = models.CharField(max_length=200, blank=True)
    body = models.BinaryField(blank=True)
    body_cut = models.BooleanField(default=False)
    transport_error = models.TextField(blank=True)
    holder = models.CharField(max_length=100)
    by_dead_holder = models.BooleanField(default=False)

    class Meta:
        ordering = ["number"]
        constraints = [
            models.UniqueConstraint(
                fields=["request", "number"], name="the_attempts_of_a_request_are_numbered"
            )
        ]

    def __str__(self) -> str:
        return f"{self.number}: {self.outcome}"

    @property
    def delivered(self) -> bool:
        """Return True when the call reached the EMS, or may have; False for a dead holder's."""
        return self.outcome != Outcome.NOT_DELIVERED and not self.by_dead_holder

    @property
    def retry_advice(self) -> RetryAdvice:
        return retry_advice(
            Outcome(self.outcome),
            http_status=self.http_status,
            reject_reason=self.reject_reason,
            may_have_been_carried_out=self.may_have_been_carried_out,
        )


class ResidualOrder(models.Model):
    """An order that the EMS still listed as open when the request ended."""

    request = models.ForeignKey(
        CancelRequest, on_delete=models.PROTECT, related_name="residual_orders"
    )
    symbol = models.CharField(max_length=200, blank=True)
    side = models.CharField(max_length=200, blank=True)
    price = models.CharField(max_length=200, blank=True)
    amount_order = models.CharField(max_length=200, blank=True)
    amount_open = models.CharField(max_length=200, blank=True)
    amount_filled = models.CharField(max_length=200, blank=True)
    status = models.CharField(max_length=200, blank=True)
    client_order_id = models.CharField(max_length=200, blank=True)
    exchange_order_id = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ["id"]
        indexes = [
            models.Index(fields=["client_order_id"], name="orders_by_client_id"),
            models.Index(fields=["exchange_order_id"], name="orders_by_exchange_id"),
        ]

    def __str__(self) -> str:
        return self.client_order_id or self.exchange_order_id


class SecondLook(models.Model):
    """What the observer found some time after a request had ended CONFIRMED: lists lag."""

    request = models.ForeignKey(
        CancelRequest, on_delete=models.PROTECT, related_name="second_looks"
    )
    after_s = models.PositiveIntegerField()  # the plan; the list may be a few seconds later
    read_at = models.DateTimeField()
    open_orders = models.PositiveIntegerField(null=True)  # None: the list could not be read
    error = models.CharField(max_length=500, blank=True)

    class Meta:
        ordering = ["after_s"]
        constraints = [
            models.UniqueConstraint(
                fields=["request", "after_s"], name="a_request_is_looked_at_once_for_each_delay"
            )
        ]

    def __str__(self) -> str:
        return f"after {self.after_s} s: {self.open_orders}"
