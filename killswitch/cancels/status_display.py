"""How a status looks: a mark of its own shape, a tone, and its words."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

from django.conf import settings

from killswitch.cancels.models import CancelRequest
from killswitch.cancels.states import LABELS, Status


@dataclass(frozen=True, kw_only=True)
class StatusBadge:
    """Never colour alone: `icon` differs in shape for every status, `words` say it."""

    icon: str
    tone: str
    words: str

    @classmethod
    def of(cls, status: Status, *, reject_reason: str = "", open_after: int | None = None) -> Self:
        """The look of a status; what is known of this one stands in its words."""
        icon, tone = BADGES[status]
        words = _words(status, reject_reason=reject_reason, open_after=open_after)
        return cls(icon=icon, tone=tone, words=words)


# Each icon has its place in static/icons.svg, which static/css/page.css names.
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


def pluralize_count(number: int, noun: str) -> str:
    """E.g. "1 order", "2,040 orders"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def progress_text(request: CancelRequest) -> str:
    """What happens to a request in flight right now; the page counts a pause down behind it."""
    match Status(request.status):
        case Status.REQUESTED:
            return "Recorded; nobody has sent it yet"
        case Status.SENDING if _waits(request):
            said = f"; the EMS said {request.reject_reason}" if request.reject_reason else ""
            return f"Attempt {request.attempt_count} is over{said}"
        case Status.SENDING:
            return f"Attempt {request.attempt_count + 1}; the EMS is being asked"
        case Status.VERIFYING:
            return f"No outcome yet; what is still open is being read: {_calls(request)}"
        case _:
            return ""


def ends_at(request: CancelRequest) -> datetime | None:
    """Until when it is asked and read; what is found then is its outcome."""
    if request.first_claimed_at is None:
        return None
    return request.first_claimed_at + timedelta(seconds=settings.CANCEL_DEADLINE)


def progress(request: CancelRequest) -> str:
    """The same in two words, e.g. "attempt 2" or "1 attempt, 3 reads"."""
    match Status(request.status):
        case Status.SENDING:
            return f"attempt {request.attempt_count + (not _waits(request))}"
        case Status.VERIFYING:
            return _calls(request)
        case _:
            return ""


def _calls(request: CancelRequest) -> str:
    attempts = pluralize_count(request.attempt_count, "attempt")
    return f"{attempts}, {pluralize_count(request.reads, 'read')}"


def _waits(request: CancelRequest) -> bool:
    """Whether the last attempt is over and the next one has its time."""
    return request.next_attempt_at is not None and request.attempt_count > 0


def _words(status: Status, *, reject_reason: str, open_after: int | None) -> str:
    match status:
        case Status.RESIDUAL if open_after is not None:
            return f"{pluralize_count(open_after, 'order')} left open"
        case Status.REJECTED if reject_reason:
            return f"Rejected: {reject_reason}"
        case _:
            return LABELS[status]
