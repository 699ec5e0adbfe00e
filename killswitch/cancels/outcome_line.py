"""What a line says of a request, as texts: its status, and how it ended or how far it has come."""

from typing import NamedTuple

from killswitch.accounts.templatetags.accounts import person_name
from killswitch.cancels.models import Batch, CancelRequest, Origin
from killswitch.cancels.states import Status
from killswitch.cancels.status_display import (
    elapsed,
    ends_at,
    next_attempt_at,
    progress_counts,
    status_badge,
)
from killswitch.runtime.templatetags.text import escape_controls, iso, time_short

# What the lines of requests that are equally far do not have in common.
OWN = (
    *("address", "uuid", "words", "requester", "finished_at", "duration"),
    *("requested_at", "requested_at_iso", "ends_at_iso", "next_at_iso", "progress"),
)


class OutcomeLine(NamedTuple):
    """The values of `cancels/_outcome.html`."""

    address: str
    uuid: str
    status: str
    icon: str
    tone: str
    words: str
    is_reopened: bool
    doubt: str  # what has happened since; "" for nothing
    doubt_tone: str
    requester: str
    is_final: bool
    finished_at: str
    duration: str
    is_claimed: bool
    requested_at: str
    requested_at_iso: str
    ends_at_iso: str
    next_at_iso: str
    progress: str


def outcome_line(
    request: CancelRequest, *, address: str, has_new_orders: bool = False, is_stuck: bool = False
) -> OutcomeLine:
    """Return the line of a request as it is now. The request needs its `batch`."""
    badge = status_badge(request)
    words, doubt, doubt_tone = escape_controls(badge.words), "", ""
    is_final, is_claimed = request.is_final, request.first_claimed_at is not None
    if is_stuck:
        doubt, doubt_tone = "stuck", "badc"
    elif has_new_orders and not request.reopened_at:
        doubt, doubt_tone = "more since", "warnc"
        if request.status == Status.CONFIRMED:
            words, doubt = "Confirmed", "new orders since"
    is_waiting = not is_final and not is_claimed
    is_running = not is_final and is_claimed
    return OutcomeLine(
        address=address,
        uuid=str(request.uuid),
        status=request.status,
        icon=badge.icon,
        tone=badge.tone,
        words=words,
        is_reopened=bool(request.reopened_at),
        doubt=doubt,
        doubt_tone=doubt_tone,
        requester=requester(request.batch),
        is_final=is_final,
        finished_at=time_short(request.finished_at) if is_final else "",
        duration=elapsed(request) if is_final else "",
        is_claimed=is_claimed,
        requested_at=time_short(request.batch.asked_at) if is_waiting else "",
        requested_at_iso=iso(request.batch.asked_at) if is_waiting else "",
        ends_at_iso=iso(ends_at(request)) if is_running else "",
        next_at_iso=iso(next_attempt_at(request)) if is_running else "",
        progress=progress_counts(request) if is_running else "",
    )


def requester(batch: Batch) -> str:
    """Return who requested a cancel, in words: a person, or "System" for what a Hold cancels."""
    return "System" if batch.origin == Origin.HOLD else person_name(batch.by_name)
