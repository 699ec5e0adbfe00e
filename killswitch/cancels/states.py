"""The statuses of a request: what is *known* of it, and which status may follow which."""

from enum import StrEnum


class Status(StrEnum):
    """What is known of a request. Only the last six are final."""

    REQUESTED = "REQUESTED"
    SENDING = "SENDING"
    VERIFYING = "VERIFYING"
    CONFIRMED = "CONFIRMED"
    RESIDUAL = "RESIDUAL"
    UNVERIFIED = "UNVERIFIED"
    REJECTED = "REJECTED"
    NOT_DELIVERED = "NOT_DELIVERED"
    UNKNOWN = "UNKNOWN"


TRANSITIONS: dict[Status, frozenset[Status]] = {
    Status.REQUESTED: frozenset({Status.SENDING}),
    Status.SENDING: frozenset({Status.VERIFYING, Status.REJECTED, Status.NOT_DELIVERED}),
    # Once accepted, or once it may have been carried out, the list of open orders decides.
    Status.VERIFYING: frozenset(
        {Status.CONFIRMED, Status.RESIDUAL, Status.UNVERIFIED, Status.UNKNOWN}
    ),
    Status.CONFIRMED: frozenset(),
    Status.RESIDUAL: frozenset(),
    Status.UNVERIFIED: frozenset(),
    Status.REJECTED: frozenset(),
    Status.NOT_DELIVERED: frozenset(),
    Status.UNKNOWN: frozenset(),
}

FINAL = frozenset(status for status, following in TRANSITIONS.items() if not following)
IN_FLIGHT = frozenset(Status) - FINAL

LABELS: dict[Status, str] = {
    Status.REQUESTED: "Recorded, not sent yet",
    Status.SENDING: "Sending the cancel",
    Status.VERIFYING: "Checking open orders",
    Status.CONFIRMED: "Confirmed, none open",
    Status.RESIDUAL: "Orders still open",
    Status.UNVERIFIED: "Accepted, not verified",
    Status.REJECTED: "Rejected",
    Status.NOT_DELIVERED: "Not delivered",
    Status.UNKNOWN: "Outcome unknown",
}

MEANINGS: dict[Status, str] = {
    Status.REQUESTED: "recorded; not sent yet",
    Status.SENDING: "picked up; sending the cancel, or waiting to send it again",
    Status.VERIFYING: (
        "accepted, or possibly carried out; checking the open orders, and cancelling again while"
        " some remain"
    ),
    Status.CONFIRMED: "the EMS lists no open orders on that exchange",
    Status.RESIDUAL: "the EMS still lists open orders",
    Status.UNVERIFIED: "accepted; the open orders could not be read",
    Status.REJECTED: "rejected by the EMS",
    Status.NOT_DELIVERED: "it is certain that the EMS never received it",
    Status.UNKNOWN: "it may or may not have been carried out",
}


class ForbiddenTransition(Exception):
    """The table does not allow this change of status."""

    def __init__(self, *, before: Status, after: Status) -> None:
        super().__init__(f"{after} may not follow {before}")


def check_transition(*, before: Status, after: Status) -> None:
    """Raise `ForbiddenTransition` unless the table allows the change."""
    if after not in TRANSITIONS[before]:
        raise ForbiddenTransition(before=before, after=after)


def diagram() -> str:
    """Return the table as a Mermaid state diagram, for the documentation."""
    lines = ["stateDiagram-v2", "    [*] --> REQUESTED"]
    for before in Status:
        lines += [f"    {before} --> {after}" for after in Status if after in TRANSITIONS[before]]
    lines += [f"    {status} --> [*]" for status in Status if status in FINAL]
    return "\n".join(lines) + "\n"
