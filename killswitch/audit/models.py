"""The evidence: numbered, hash-chained events that are only appended."""

from django.db import models


class EventKind(models.TextChoices):
    """The kinds of events, each with its label on the pages.

    They are part of hashed data, so none may be renamed or removed. A new one needs a description
    in the package that records it, and a decision on whether it must be reviewed (`audit.review`).
    """

    STARTED = "STARTED", "System started"
    STOPPED = "STOPPED", "System stopped"
    REQUESTED = "REQUESTED", "Cancel requested"
    PUBLISH_FAILED = "PUBLISH_FAILED", "Queue did not accept the request"
    TAKEN_OVER = "TAKEN_OVER", "Request taken over"
    ATTEMPT = "ATTEMPT", "Cancel attempt"
    FINISHED = "FINISHED", "Request finished"
    REASON_COMPLETED = "REASON_COMPLETED", "Reason added"
    SECOND_LOOK = "SECOND_LOOK", "Second look"
    HOLD_STARTED = "HOLD_STARTED", "Hold started"
    HOLD_EPISODE = "HOLD_EPISODE", "Hold episode ended"
    HOLD_BLIND = "HOLD_BLIND", "Hold blind"
    HOLD_SEES_AGAIN = "HOLD_SEES_AGAIN", "Hold: list readable again"
    HOLD_RELEASE_REQUESTED = "HOLD_RELEASE_REQUESTED", "Hold release requested"
    HOLD_RELEASE_WITHDRAWN = "HOLD_RELEASE_WITHDRAWN", "Hold release withdrawn"
    HOLD_RELEASE_LAPSED = "HOLD_RELEASE_LAPSED", "Hold release lapsed"
    HOLD_RELEASED = "HOLD_RELEASED", "Hold released"
    ALARM_RAISED = "ALARM_RAISED", "Alarm raised"
    ALARM_TOLD = "ALARM_TOLD", "Alarm notification sent"
    ALARM_ACKNOWLEDGED = "ALARM_ACKNOWLEDGED", "Alarm acknowledged"
    ALARM_RESOLVED = "ALARM_RESOLVED", "Alarm resolved"
    ALARM_OVERDUE = "ALARM_OVERDUE", "Alarm not acknowledged in time"
    SIGNED_IN = "SIGNED_IN", "Signed in"
    SIGN_IN_FAILED = "SIGN_IN_FAILED", "Sign-in failed"
    SIGNED_OUT = "SIGNED_OUT", "Signed out"
    DENIED = "DENIED", "Access denied"
    EXCHANGE_ADDED = "EXCHANGE_ADDED", "Exchange added"
    EXCHANGE_CHANGED = "EXCHANGE_CHANGED", "Exchange changed"
    GROUP_ADDED = "GROUP_ADDED", "Group of exchanges added"
    GROUP_CHANGED = "GROUP_CHANGED", "Group of exchanges changed"
    GROUP_REMOVED = "GROUP_REMOVED", "Group of exchanges removed"
    RUNBOOK_CHANGED = "RUNBOOK_CHANGED", "Runbook changed"
    PERSON_ADDED = "PERSON_ADDED", "User added"
    PERSON_CHANGED = "PERSON_CHANGED", "User changed"
    ROLE_CHANGED = "ROLE_CHANGED", "Role changed"
    PASSWORD_CHANGED = "PASSWORD_CHANGED", "Password changed"
    SECOND_FACTOR_ADDED = "SECOND_FACTOR_ADDED", "Second factor added"
    SECOND_FACTOR_REMOVED = "SECOND_FACTOR_REMOVED", "Second factor removed"
    SECOND_FACTOR_RESET = "SECOND_FACTOR_RESET", "Second factor reset"
    RECOVERY_CODES_RENEWED = "RECOVERY_CODES_RENEWED", "Recovery codes renewed"
    RECOVERY_CODE_USED = "RECOVERY_CODE_USED", "Recovery code used"
    GUARDS_PUT_BACK = "GUARDS_PUT_BACK", "Log protection restored"
    EXPORTED = "EXPORTED", "Export started"
    EXPORT_COMPLETED = "EXPORT_COMPLETED", "Export completed"
    REQUESTS_EXPORTED = "REQUESTS_EXPORTED", "Requests exported"
    REVIEWED = "REVIEWED", "Reviewed"
    QUERIED = "QUERIED", "Query raised"
    QUERY_ANSWERED = "QUERY_ANSWERED", "Query answered"
    CLOSED = "CLOSED", "Query closed"
    PERIOD_SIGNED_OFF = "PERIOD_SIGNED_OFF", "Period signed off"


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
            models.Index(fields=["reject_reason", "-seq"], name="audit_reject_reason"),
            models.Index(fields=["request_id", "-seq"], name="audit_request"),
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
