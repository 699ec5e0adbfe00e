"""The evidence: numbered, hash-chained events that are only appended."""

from django.db import models

from killswitch.audit.event_kinds import EventKind
from killswitch.audit.needing_review import NEEDS_REVIEW

__all__ = ["AuditEvent", "EventKind", "Review", "ThrottledEvent", "Verification"]


class AuditEvent(models.Model):
    """One event. It has no foreign keys, so it remains complete without the other tables.

    `hash` covers every other column, `previous` included; `data` is canonical JSON kept as text,
    because a JSON column would rewrite it.
    """

    seq = models.BigIntegerField(primary_key=True)
    at = models.DateTimeField()
    format = models.PositiveSmallIntegerField()
    software = models.CharField(max_length=50)
    kind = models.CharField(max_length=30)
    actor = models.CharField(max_length=200)
    role = models.CharField(max_length=30, blank=True)
    exchange_id = models.CharField(max_length=200, blank=True)
    request_id = models.CharField(max_length=36, blank=True)
    status = models.CharField(max_length=20, blank=True)
    reject_reason = models.CharField(max_length=200, blank=True)
    data = models.TextField()
    previous = models.CharField(max_length=64)
    hash = models.CharField(max_length=64)

    class Meta:
        ordering = ["seq"]
        indexes = [
            models.Index(fields=["at", "seq"], name="audit_at"),
            models.Index(fields=["kind", "-seq"], name="audit_kind"),
            models.Index(fields=["actor", "-seq"], name="audit_actor"),
            models.Index(fields=["exchange_id", "-seq"], name="audit_exchange"),
            models.Index(fields=["status", "-seq"], name="audit_status"),
            models.Index(
                fields=["reject_reason", "-seq"],
                condition=~models.Q(reject_reason=""),
                name="audit_reject_reason",
            ),
            models.Index(fields=["request_id", "-seq"], name="audit_request"),
            models.Index(fields=["kind", "actor", "-seq"], name="audit_kind_actor"),
            models.Index(fields=["kind", "exchange_id", "-seq"], name="audit_kind_exchange"),
            models.Index(fields=["kind", "status", "-seq"], name="audit_kind_status"),
            models.Index(
                fields=["kind", "reject_reason", "-seq"],
                condition=~models.Q(reject_reason=""),
                name="audit_kind_reason",
            ),
            models.Index(
                fields=["exchange_id", "reject_reason", "-seq"],
                condition=~models.Q(reject_reason=""),
                name="audit_exchange_reason",
            ),
            models.Index(
                fields=["seq", "kind", "request_id"],
                condition=models.Q(NEEDS_REVIEW),
                name="audit_needing_review",
            ),
        ]
        constraints = [
            models.UniqueConstraint(fields=["hash"], name="no_two_events_have_the_same_hash"),
            models.CheckConstraint(condition=models.Q(seq__gte=1), name="events_count_from_one"),
        ]

    def __str__(self) -> str:
        return f"{self.seq} {self.kind}"


class ThrottledEvent(models.Model):
    """Counts one kind of event that would flood the log, e.g. the denials of one person."""

    kind = models.CharField(max_length=30)
    subject = models.CharField(max_length=300)
    since = models.DateTimeField()
    count = models.PositiveIntegerField(default=1)

    class Meta:
        db_table = "audit_repetition"
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "subject"], name="a_repetition_is_counted_in_one_row"
            )
        ]

    def __str__(self) -> str:
        return f"{self.subject}: {self.count}"


class Verification(models.Model):
    """The observer's latest verification: one row, replaced each time.

    `at` is the time of the latest verification, `whole_at` that of the latest complete one, both
    by the database's own clock. For the pages only: an auditor verifies again.
    """

    at = models.DateTimeField()
    ok = models.BooleanField()
    head_seq = models.BigIntegerField()
    head_hash = models.CharField(max_length=64)
    first_bad_seq = models.BigIntegerField(null=True)
    reason = models.TextField(blank=True)
    warnings = models.TextField(blank=True)  # one a line
    whole_at = models.DateTimeField()
    whole_seq = models.BigIntegerField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(id=1), name="only_the_last_verification_is_kept"
            )
        ]

    def __str__(self) -> str:
        return f"{self.head_seq} {'ok' if self.ok else self.reason}"


class Review(models.Model):
    """The current review state of one event, derived from the events of `REVIEW_STATES`.

    This table makes unreviewed events quick to find. Every complete verification compares it with
    those events.
    """

    event_seq = models.BigIntegerField(primary_key=True)
    state = models.CharField(max_length=30)
    note = models.CharField(max_length=1000, blank=True)
    by = models.CharField(max_length=200)
    at = models.DateTimeField()
    review_seq = models.BigIntegerField(db_column="said_in")  # the event of this review

    class Meta:
        ordering = ["event_seq"]
        indexes = [models.Index(fields=["state", "-review_seq"], name="reviews_by_state")]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(review_seq__gt=models.F("event_seq")),
                name="a_review_comes_after_what_it_is_about",
            )
        ]

    def __str__(self) -> str:
        return f"{self.event_seq} {self.state}"
