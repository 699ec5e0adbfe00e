"""Describes the events of accounts: sign-ins, denied access and changes."""

from killswitch.audit.descriptions import describe_changes, descriptions
from killswitch.audit.event_reader import EventData
from killswitch.audit.models import EventKind

# By the reason that the event stores.
FAILURE_REASONS = {
    "no such person": "Unknown username",
    "switched off": "Account disabled",
    "wrong password": "Wrong password",
    "demo person": "Demo user outside the demo",
    "too many tries": "Too many attempts",
    "wrong code": "Wrong code",
}


def _signed_in_or_out(data: EventData) -> str:
    address = data.text("address")
    return f"From address {address}." if address else ""


def _sign_in_failed(data: EventData) -> str:
    username, why = data.text("username"), data.text("why")
    reason = FAILURE_REASONS.get(why, why.capitalize() or "Failed")
    sentence = f"{reason}, user {username}." if username else f"{reason}."
    return f"{sentence}{_repetition(data)} {_signed_in_or_out(data)}"


def _denied(data: EventData) -> str:
    request, permission = f"{data.text('method')} {data.text('path')}", data.text("permission")
    return f"Tried {request} without the permission {permission}.{_repetition(data)}"


def _recovery_code_used(data: EventData) -> str:
    codes_left = data.number("left")
    return (
        f"{data.text('person')}{f'; codes left: {codes_left}' if codes_left is not None else ''}."
    )


def _repetition(data: EventData) -> str:
    count = data.number("count") or 1
    return f" Attempt {count:,} within an hour." if count > 1 else ""


descriptions |= {
    EventKind.SIGNED_IN: _signed_in_or_out,
    EventKind.SIGN_IN_FAILED: _sign_in_failed,
    EventKind.SIGNED_OUT: _signed_in_or_out,
    EventKind.DENIED: _denied,
    EventKind.PERSON_ADDED: describe_changes,
    EventKind.PERSON_CHANGED: describe_changes,
    EventKind.ROLE_CHANGED: describe_changes,
    EventKind.PASSWORD_CHANGED: describe_changes,
    EventKind.SECOND_FACTOR_ADDED: describe_changes,
    EventKind.SECOND_FACTOR_REMOVED: describe_changes,
    EventKind.SECOND_FACTOR_RESET: describe_changes,
    EventKind.RECOVERY_CODES_RENEWED: describe_changes,
    EventKind.RECOVERY_CODE_USED: _recovery_code_used,
}
