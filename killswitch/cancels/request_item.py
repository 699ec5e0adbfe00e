"""The markup of the requests of a batch, rendered once for all pages that show the same request."""

from collections.abc import Collection
from typing import NamedTuple
from uuid import UUID

from django.urls import reverse
from django.utils.safestring import SafeString

from killswitch.cancels.models import CancelRequest
from killswitch.cancels.states import Status
from killswitch.cancels.status_display import (
    elapsed,
    ends_at,
    next_attempt_at,
    progress_text,
    status_badge,
)
from killswitch.cancels.status_help import status_help
from killswitch.runtime.cached_markup import rendered
from killswitch.runtime.http import MAX_ID, addresses
from killswitch.runtime.templatetags.text import escape_controls, iso, time_short
from killswitch.runtime.text import pluralize_count

SAMPLE_UUID = UUID(int=0)
# What the items of requests that are equally far do not have in common.
OWN = (
    *("pk", "uuid", "words", "exchange_id", "exchange_address", "address"),
    *("conclusion", "finished_at", "duration", "attempts"),
    *("progress.words", "progress.requested_at", "progress.requested_at_iso"),
    *("progress.next_at_iso", "progress.ends_at_iso"),
    *("advice.contact", "advice.card_address"),
)


class Progress(NamedTuple):
    """How far a request has come that is in flight."""

    words: str
    requested_at: str  # "" once it is claimed
    requested_at_iso: str
    is_next_named: bool  # the next attempt comes after checks
    next_at_iso: str
    ends_at_iso: str


class Advice(NamedTuple):
    """What a failed status means, and what to do now: "" if that is over."""

    label: str
    help_address: str
    action: str
    contact: str
    card_address: str  # "" where it would not help


class RequestItem(NamedTuple):
    """The values of `cancels/_request_item.html`."""

    pk: str
    uuid: str
    status: str
    icon: str
    tone: str
    words: str
    exchange_id: str
    exchange_address: str
    address: str
    is_reopened: bool
    conclusion: str
    finished_at: str
    duration: str
    attempts: str
    progress: Progress | None
    advice: Advice | None


class RequestItems:
    """Renders the requests of one batch."""

    def __init__(self, *, advised: Collection[int]) -> None:
        self._advised = advised
        self._of_request = addresses("request", sample=SAMPLE_UUID)
        self._of_exchange = addresses("exchange", sample=MAX_ID)
        self._of_card = addresses("telephone_card", sample=MAX_ID)
        self._help = reverse("help")

    def markup(self, request: CancelRequest) -> SafeString:
        """Return the item of a request, which needs its `batch` and `configured_exchange`."""
        badge = status_badge(request)
        is_final = request.is_final
        needs_advice = (is_final and request.status != Status.CONFIRMED) or request.reopened_at
        item = RequestItem(
            pk=str(request.pk),
            uuid=str(request.uuid),
            status=request.status,
            icon=badge.icon,
            tone=badge.tone,
            words=escape_controls(badge.words),
            exchange_id=request.exchange_id,
            exchange_address=self._of_exchange(request.configured_exchange_id),
            address=self._of_request(request.uuid),
            is_reopened=bool(request.reopened_at),
            conclusion=escape_controls(request.conclusion) if is_final else "",
            finished_at=time_short(request.finished_at) if is_final else "",
            duration=elapsed(request) if is_final else "",
            attempts=pluralize_count(request.attempt_count, "attempt") if is_final else "",
            progress=None if is_final else _progress(request),
            advice=self._advice(request) if needs_advice else None,
        )
        return rendered("cancels/_request_item.html", item, own=OWN)

    def _advice(self, request: CancelRequest) -> Advice:
        status = status_help(request)
        is_advised = request.pk in self._advised
        needs_call = is_advised and request.needs_attention
        return Advice(
            label=status.label,
            help_address=f"{self._help}#{status.name}",
            action=status.action if is_advised else "",
            contact=escape_controls(request.configured_exchange.contact) if needs_call else "",
            card_address=self._of_card(request.configured_exchange_id) if needs_call else "",
        )


def _progress(request: CancelRequest) -> Progress:
    is_waiting = request.first_claimed_at is None
    return Progress(
        words=progress_text(request),
        requested_at=time_short(request.batch.asked_at) if is_waiting else "",
        requested_at_iso=iso(request.batch.asked_at) if is_waiting else "",
        is_next_named=request.status == Status.VERIFYING,
        next_at_iso=iso(next_attempt_at(request)),
        ends_at_iso=iso(ends_at(request)),
    )
