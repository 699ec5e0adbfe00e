"""The kinds of events."""

from typing import Final

from django.db import models


class EventKind(models.TextChoices):
    """The kinds of events, each with its label on the pages.

    They are part of hashed data, so none may be renamed or removed. A new one needs a description
    in the package that records it, and a decision on whether it must be reviewed
    (`audit.needing_review`).
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
    BREAK_GLASS_RECORDED = "BREAK_GLASS_RECORDED", "Break-glass cancel recorded"
    TELEPHONED = "TELEPHONED", "Exchange telephoned"
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
    RESTORED = "RESTORED", "Backup restored"
    EXPORTED = "EXPORTED", "Export started"
    EXPORT_COMPLETED = "EXPORT_COMPLETED", "Export completed"
    REQUESTS_EXPORTED = "REQUESTS_EXPORTED", "Requests exported"
    REVIEWED = "REVIEWED", "Reviewed"
    QUERIED = "QUERIED", "Query raised"
    QUERY_ANSWERED = "QUERY_ANSWERED", "Query answered"
    CLOSED = "CLOSED", "Query closed"
    PERIOD_SIGNED_OFF = "PERIOD_SIGNED_OFF", "Period signed off"


# What administrators and users change: the exchanges, the runbook and the accounts.
CHANGE_KINDS: Final = (
    EventKind.EXCHANGE_ADDED,
    EventKind.EXCHANGE_CHANGED,
    EventKind.GROUP_ADDED,
    EventKind.GROUP_CHANGED,
    EventKind.GROUP_REMOVED,
    EventKind.RUNBOOK_CHANGED,
    EventKind.PERSON_ADDED,
    EventKind.PERSON_CHANGED,
    EventKind.ROLE_CHANGED,
    EventKind.PASSWORD_CHANGED,
    EventKind.SECOND_FACTOR_RESET,
)
