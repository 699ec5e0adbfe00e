"""How a status looks: an icon with a shape of its own, a tone, and its words."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self

from django.conf import settings

from killswitch.cancels.models import (
    SECOND_LOOKS_AFTER_S,
    Attempt,
    CancelRequest,
    Origin,
    SecondLook,
)
from killswitch.cancels.states import LABELS, Status
from killswitch.ems.answers import Outcome
from killswitch.exchanges.models import Exchange
from killswitch.runtime.age import MAX_CLOCK_SKEW_S, elapsed_ms
from killswitch.runtime.text import MS_PER_S, duration_text, pluralize_count


@dataclass(frozen=True, kw_only=True)
class StatusBadge:
    """Icon, tone and words of a status, which never differ by colour alone."""

    icon: str
    tone: str
    words: str

    @classmethod
    def of(cls, status: Status, *, reject_reason: str = "", open_after: int | None = None) -> Self:
        """Return the badge of a status; its words include the details of this request."""
        match status:
            case Status.RESIDUAL if open_after is not None:
                words = f"{pluralize_count(open_after, 'order')} still open"
            case Status.REJECTED if reject_reason:
                words = f"Rejected: {reject_reason}"
            case _:
                words = LABELS[status]
        icon, tone = BADGES[status]
        return cls(icon=icon, tone=tone, words=words)


# static/css/page.css defines each icon, static/icons.svg draws it.
BADGES = {
    Status.REQUESTED: ("clock", "busy"),
    Status.SENDING: ("arrow", "busy"),
    Status.VERIFYING: ("lens", "busy"),
    Status.CONFIRMED: ("ok", "good"),
    Status.RESIDUAL: ("left", "warn"),
    Status.UNVERIFIED: ("half", "warn"),
    Status.REJECTED: ("no", "bad"),
    Status.NOT_DELIVERED: ("cut", "bad"),
    Status.UNKNOWN: ("ask", "odd"),
}

REOPENED_BADGE = BADGES[Status.RESIDUAL]
NEVER_LISTED_BADGE = BADGES[Status.UNVERIFIED]

OUTCOME_TEXTS: dict[str, str] = {
    Outcome.ACKNOWLEDGED: "accepted by the EMS",
    Outcome.REJECTED: "rejected by the EMS",
    Outcome.UNKNOWN: "no usable response",
    Outcome.NOT_DELIVERED: "not delivered",
}

# What the EMS answered to one call. None of them moves, and "accepted" is no outcome, so not green.
ATTEMPT_BADGES: dict[str, tuple[str, str]] = {
    Outcome.ACKNOWLEDGED: ("half", "calm"),
    Outcome.REJECTED: ("no", "bad"),
    Outcome.UNKNOWN: ("ask", "odd"),
    Outcome.NOT_DELIVERED: ("cut", "bad"),
}


def attempt_badge(attempt: Attempt) -> StatusBadge:
    """Return the badge of one call to the EMS, a fact of the past."""
    if attempt.by_dead_holder:
        words = "outcome unknown: the process handling it did not finish"
        return StatusBadge(icon="ask", tone="odd", words=words)
    icon, tone = ATTEMPT_BADGES.get(attempt.outcome, ("ask", "odd"))
    words = OUTCOME_TEXTS.get(attempt.outcome, attempt.outcome)
    return StatusBadge(icon=icon, tone=tone, words=words)


def status_badge(request: CancelRequest) -> StatusBadge:
    """Return the badge of a request's status, or that orders are open again after it."""
    if request.reopened_at:
        orders = pluralize_count(request.reopened_orders or 0, "order")
        icon, tone = REOPENED_BADGE
        words = f"{orders} open again after {reopened_after(request)}"
        return StatusBadge(icon=icon, tone=tone, words=words)
    return final_badge(request)


def final_badge(request: CancelRequest) -> StatusBadge:
    """Return the badge of a request's status, whatever was seen later."""
    if request.is_refused_while_flat:
        return StatusBadge(icon="no", tone="calm", words="Rejected, none open")
    if request.is_never_listed:
        icon, tone = NEVER_LISTED_BADGE
        return StatusBadge(icon=icon, tone=tone, words="None open, but never listed by the EMS")
    return StatusBadge.of(
        Status(request.status), reject_reason=request.reject_reason, open_after=request.open_after
    )


def orders_since(request: CancelRequest, exchange: Exchange) -> int:
    """Return how many orders at least are open now that the final status does not account for.

    They are new, or restored by the venue; 0 while the request is in flight. What it left is the
    count after it, or before it if the EMS's list could not be read then. Revisions are compared,
    because the figure and the outcome are timed by the clocks of two hosts.
    """
    if not request.is_final or not exchange.open_orders:
        return 0
    if exchange.revision <= (request.finished_revision or request.revision):
        return 0
    left = request.open_before if request.open_after is None else request.open_after
    return 0 if left is None else max(exchange.open_orders - left, 0)


def elapsed(request: CancelRequest) -> str:
    """Return the time from the request to its outcome, e.g. "212 ms" or "11.8 s".

    Empty while it is in flight, and when the times show that clocks differ.
    """
    end = request.finished_at
    took_ms = elapsed_ms(start=request.batch.asked_at, end=end)
    if took_ms is None or elapsed_ms(start=request.first_claimed_at, end=end) is None:
        return ""
    return duration_text(took_ms)


def reopened_after(request: CancelRequest) -> str:
    """Return how long after its confirmation orders were open again, e.g. "12 s"."""
    if request.reopened_at is None or request.finished_at is None:
        return ""
    delay_s = (request.reopened_at - request.finished_at).total_seconds()
    return duration_text(max(1, round(delay_s)) * MS_PER_S)


def second_look_text(request: CancelRequest, looks: Iterable[SecondLook]) -> str:
    """Return what was open some time after the end, e.g. "still none open after 5 s and 60 s".

    Empty for a request that gets no second look.
    """
    if request.status != Status.CONFIRMED or request.batch.origin == Origin.HOLD:
        return ""
    looks_by_delay = {look.after_s: look for look in looks}
    missing = [f"{after_s} s" for after_s in SECOND_LOOKS_AFTER_S if after_s not in looks_by_delay]
    empty, parts = [], []
    for after_s, look in sorted(looks_by_delay.items()):
        if look.open_orders is None:
            reason = f"the list could not be read ({look.error})"
            parts.append(f"no second look after {after_s} s: {reason}")
        elif look.open_orders:
            orders = f"{'at least ' * bool(look.error)}{pluralize_count(look.open_orders, 'order')}"
            parts.append(f"after {after_s} s: {orders} open")
        else:
            empty.append(f"{after_s} s")
    if empty:
        parts.insert(0, f"still none open after {' and '.join(empty)}")
    if missing:
        # A page that stays open is not told that a look was missed, so this is worded for both.
        parts.append(f"none recorded so far after {' and '.join(missing)}")
    return "; ".join(parts)


def progress_text(request: CancelRequest) -> str:
    """Return what is happening to a request in flight; the page adds the countdown."""
    match Status(request.status):
        case Status.REQUESTED:
            return "Recorded, not sent yet"
        case Status.SENDING if _waits_to_retry(request):
            # An attempt without a response leaves the one to an earlier attempt on the request.
            response = (
                f" (last EMS response: {request.reject_reason})" if request.reject_reason else ""
            )
            return f"Attempt {request.attempt_count} ended{response}. Retrying"
        case Status.SENDING:
            return f"Attempt {request.attempt_count + 1}: sending the cancel"
        case Status.VERIFYING:
            return f"Checking what is still open: {_attempts_and_checks(request)}"
        case _:
            return ""


def progress_counts(request: CancelRequest) -> str:
    """Return the progress in two words, e.g. "attempt 2" or "1 attempt, 3 checks"."""
    match Status(request.status):
        case Status.SENDING:
            return f"attempt {request.attempt_count + (not _waits_to_retry(request))}"
        case Status.VERIFYING:
            return _attempts_and_checks(request)
        case _:
            return ""


def ends_at(request: CancelRequest) -> datetime | None:
    """Return when sending and checking end; the outcome is what is known by then.

    None before the claim, and when clocks differ so much that the countdown would be wrong.
    """
    if request.first_claimed_at is None:
        return None
    return _countdown_to(request.first_claimed_at + timedelta(seconds=settings.CANCEL_DEADLINE))


def next_attempt_at(request: CancelRequest) -> datetime | None:
    """Return when the cancel is sent again; None where `ends_at` is, and when it is not planned."""
    return _countdown_to(request.next_attempt_at) if request.next_attempt_at else None


def _countdown_to(at: datetime) -> datetime | None:
    """Return a time of a worker's clock unless it is further away than a whole request takes."""
    seconds_left = (at - datetime.now(UTC)).total_seconds()
    return at if seconds_left <= settings.CANCEL_DEADLINE + MAX_CLOCK_SKEW_S else None


def _attempts_and_checks(request: CancelRequest) -> str:
    attempts = pluralize_count(request.attempt_count, "attempt")
    return f"{attempts}, {pluralize_count(request.reads, 'check')}"


def _waits_to_retry(request: CancelRequest) -> bool:
    return request.next_attempt_at is not None and request.attempt_count > 0
