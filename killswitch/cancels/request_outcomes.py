"""The outcomes of requests in words, each with the condition that finds its rows.

A refusal with no open orders is not a failure, as for `CancelRequest.needs_attention`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Final

from django.db.models import Q

from killswitch.cancels.conclusion import CALM_REFUSAL, NEVER_LISTED_TEXTS
from killswitch.cancels.models import CancelRequest
from killswitch.cancels.states import FINAL, IN_FLIGHT, LABELS, Status
from killswitch.runtime.lookups import compared

# What `CancelRequest.is_refused_while_flat` and `needs_attention` are for rows.
CALM: Final = Q(status=Status.REJECTED, conclusion__startswith=CALM_REFUSAL)
# What the conclusion says of an ID that the EMS has never listed: its empty list proves little.
NEVER_LISTED: Final = Q(status=Status.CONFIRMED) & (
    reduce(or_, (Q(conclusion__contains=text) for text in NEVER_LISTED_TEXTS))
)
REOPENED: Final = Q(reopened_at__isnull=False)
FAILED: Final = Q(status__in=sorted(FINAL - {Status.CONFIRMED}))
# The two halves of `NOT_CONFIRMED`, each found by an index. Of the second the status is only
# compared: by its index, SQLite would read all requests that were confirmed.
FAILED_ROWS: Final = CancelRequest.objects.filter(FAILED & ~CALM).order_by()
REOPENED_ROWS: Final = CancelRequest.objects.filter(
    REOPENED, compared(Q(status=Status.CONFIRMED))
).order_by()
NOT_CONFIRMED: Final = (FAILED & ~CALM) | Q(pk__in=REOPENED_ROWS.values("pk"))
IN_PROGRESS: Final = Q(status__in=sorted(IN_FLIGHT))


@dataclass(frozen=True, kw_only=True)
class OutcomeChoice:
    """An outcome that can be selected, in the words of the screen."""

    label: str
    counted: str = ""  # after a number: "3 with orders still open"
    condition: Q
    is_failure: bool = False  # `NOT_CONFIRMED` is True for all its requests
    is_common: bool = False  # most requests end so


def _choice(status: Status, *, counted: str = "", unless: Q = REOPENED) -> OutcomeChoice:
    return OutcomeChoice(
        label=LABELS[status],
        counted=counted or LABELS[status].lower(),
        condition=Q(status=status) & ~REOPENED & ~unless,
        is_failure=status in FINAL - {Status.CONFIRMED},
        is_common=status == Status.CONFIRMED,
    )


# All but the first two are disjoint, and each request is in one of them. The worst come first.
OUTCOMES: Final[Mapping[str, OutcomeChoice]] = {
    "not_confirmed": OutcomeChoice(label="Not confirmed", condition=NOT_CONFIRMED, is_failure=True),
    "in_progress": OutcomeChoice(label="In progress", condition=IN_PROGRESS),
    "residual": _choice(Status.RESIDUAL, counted="with orders still open"),
    "reopened": OutcomeChoice(
        label="Orders open again",
        counted="with orders open again",
        condition=REOPENED,
        is_failure=True,
    ),
    "rejected": _choice(Status.REJECTED, unless=CALM),
    "not_delivered": _choice(Status.NOT_DELIVERED),
    "unknown": _choice(Status.UNKNOWN, counted="with unknown outcome"),
    "unverified": _choice(Status.UNVERIFIED, counted="accepted but not verified"),
    "confirmed": _choice(Status.CONFIRMED, counted="confirmed", unless=NEVER_LISTED),
    "never_listed": OutcomeChoice(
        label="None open, but never listed by the EMS",
        counted="never listed by the EMS",
        condition=NEVER_LISTED & ~REOPENED,
    ),
    "refused": OutcomeChoice(
        label="Rejected, none open", counted="rejected, none open", condition=CALM & ~REOPENED
    ),
    "requested": _choice(Status.REQUESTED),
    "sending": _choice(Status.SENDING),
    "verifying": _choice(Status.VERIFYING),
}


def outcome_name(request: CancelRequest) -> str:
    """Return the one choice among `OUTCOMES` that says how a request has ended, or its progress."""
    if request.reopened_at:
        return "reopened"
    if request.is_refused_while_flat:
        return "refused"
    if request.is_never_listed:
        return "never_listed"
    return request.status.lower()
