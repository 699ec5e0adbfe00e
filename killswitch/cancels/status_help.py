"""What each status means and what to do now, for the help page and for the pages of a request.

The advice never assumes more than the status proves: where it is not known whether orders remain,
they are taken to be open.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from django.db.models import Exists, OuterRef

from killswitch.cancels.models import CancelRequest, Origin
from killswitch.cancels.states import LABELS, Status
from killswitch.cancels.status_display import BADGES, REOPENED_BADGE
from killswitch.runtime.age import age

# Older requests are history: what to do about them now is not in their outcome.
ADVICE_FOR_S = 3600


@dataclass(frozen=True, kw_only=True)
class StatusHelp:
    """One state as the screens show it, in the help at `#status-<name>`."""

    name: str
    label: str
    icon: str
    tone: str
    meaning: str
    action: str


_TEXTS: dict[Status, tuple[str, str]] = {
    Status.REQUESTED: (
        "The cancel is recorded, and no worker has picked it up yet. Nothing has been sent.",
        "Wait a few seconds. If it does not change, an alarm appears: then cancel manually or at"
        " the exchange.",
    ),
    Status.SENDING: (
        "The cancel is being sent, or sent again after a rejection or an error.",
        "Leave it running: it retries by itself. If you cannot wait, cancel at the exchange at the"
        " same time; that does no harm.",
    ),
    Status.VERIFYING: (
        "The EMS accepted the cancel, or may have carried it out. The console checks which orders"
        " are still open, and cancels again while some remain.",
        "Wait for the outcome: accepted does not mean cancelled.",
    ),
    Status.CONFIRMED: (
        "After the cancel, the EMS lists no open orders on this exchange. It says nothing about"
        " orders that the EMS does not list.",
        "Make sure that whatever was placing the orders has stopped: new orders are not blocked."
        " Watch the open orders for a minute, and use “Cancel and hold” if they come back.",
    ),
    Status.RESIDUAL: (
        "The EMS still listed open orders when the time for this cancel was over.",
        "Retry. If orders stay open, cancel them at the exchange by their order IDs, or call the"
        " exchange. If new ones keep coming, stop whatever is placing them and use “Cancel and"
        " hold”.",
    ),
    Status.UNVERIFIED: (
        "The EMS accepted the cancel, but the open orders could not be read afterwards. It is not"
        " known whether orders are still open.",
        "Treat the orders as open. Check at the exchange, and retry.",
    ),
    Status.REJECTED: (
        "The EMS or the exchange rejected the cancel. Treat all orders as open.",
        "Read the reason and retry. If it is rejected again, cancel at the exchange or call it. If"
        " the API key was rejected, call the system operator.",
    ),
    Status.NOT_DELIVERED: (
        "No connection to the EMS could be made, or the request was ended before anything was sent."
        " The cancel did not arrive, so it cancelled nothing: treat all orders as open.",
        "Cancel at the exchange or call it. Tell the system operator, and retry as soon as the"
        " console is ready.",
    ),
    Status.UNKNOWN: (
        "The EMS gave no usable response, and the open orders do not prove what happened. The"
        " cancel may or may not have been carried out.",
        "Treat the orders as open. Check at the exchange and retry. A second cancel is safe, but it"
        " also cancels orders placed since the first.",
    ),
}

STATUS_HELP: dict[Status, StatusHelp] = {
    status: StatusHelp(
        name=f"status-{status}",
        label=LABELS[status],
        icon=BADGES[status][0],
        tone=BADGES[status][1],
        meaning=meaning,
        action=action,
    )
    for status, (meaning, action) in _TEXTS.items()
}
REFUSED_NONE_OPEN = StatusHelp(
    name="status-refused-none-open",
    label="Rejected, none open",
    icon="no",
    tone="calm",
    meaning="The EMS rejected the cancel, and then listed no open orders on this exchange.",
    action="The EMS listed nothing to cancel. If you know of open orders there, check at the"
    " exchange: the EMS may not list them.",
)
OPEN_AGAIN = StatusHelp(
    name="status-open-again",
    label="Orders open again",
    icon=REOPENED_BADGE[0],
    tone=REOPENED_BADGE[1],
    meaning="The cancel was confirmed, and within five minutes the EMS listed open orders again:"
    " new ones, or orders that the exchange restored.",
    action="Stop whatever is placing orders, then retry. If they keep coming back, use “Cancel and"
    " hold”.",
)
ALL_STATUSES = (*STATUS_HELP.values(), REFUSED_NONE_OPEN, OPEN_AGAIN)


def status_help(request: CancelRequest) -> StatusHelp:
    """Return the help on what the pages show of a request."""
    if request.reopened_at:
        return OPEN_AGAIN
    if request.is_refused_while_flat:
        return REFUSED_NONE_OPEN
    return STATUS_HELP[Status(request.status)]


def advised(requests: Iterable[CancelRequest]) -> set[int]:
    """Return the keys of the requests whose outcome still says what to do now, in one query.

    Not of one that ended long ago, nor of one that is not the newest on its exchange, nor of one
    that a Hold made, which cancels again by itself.
    """
    now = datetime.now(UTC)
    recent = [
        request.pk
        for request in requests
        if request.is_final
        and request.batch.origin != Origin.HOLD
        and age(at=request.reopened_at or request.finished_at, now=now).within(ADVICE_FOR_S)
    ]
    if not recent:
        return set()
    newer = CancelRequest.objects.filter(
        configured_exchange=OuterRef("configured_exchange"), pk__gt=OuterRef("pk")
    )
    newest = CancelRequest.objects.filter(~Exists(newer), pk__in=recent)
    return set(newest.values_list("pk", flat=True))
