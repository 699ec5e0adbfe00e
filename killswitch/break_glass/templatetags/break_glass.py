"""What the pages of break glass show. Reads no database, except for the user of a card's form."""

import re
from collections.abc import Sequence
from typing import Any

from django import template
from django.template.context import Context

from killswitch.accounts.officer_cookie import known_officer
from killswitch.accounts.permissions import Permission, has_permission
from killswitch.break_glass import outage, press_registry
from killswitch.break_glass.confirmation import Offer, Question
from killswitch.break_glass.press import RequestState
from killswitch.break_glass.press_registry import ShownPress
from killswitch.break_glass.telephone.call_form import CallForm
from killswitch.break_glass.telephone.cards import TelephoneCard
from killswitch.cancels import manual_cancel
from killswitch.cancels.models import CancelRequest
from killswitch.cancels.states import Status
from killswitch.cancels.status_display import StatusBadge, final_badge

register = template.Library()


@register.simple_tag(takes_context=True)
def break_glass_offer(context: Context) -> Offer | None:
    """Return what to offer to the officer of this request, for the target of the page if any.

    Pages that load this tag are shown because the database has failed.
    """
    outage.note_failure()
    request: Any = context["request"]
    officer = known_officer(request)
    target = context.get("target")
    if officer is None or target is None:
        return Offer.of_failed_page(request)
    names = [exchange.exchange_id for exchange in target.covered]
    return Offer.make(request, Question.of_ids(names), officer)


@register.simple_tag(takes_context=True)
def sent_without_log(context: Context) -> list[ShownPress]:
    """Return the latest break-glass presses of this host, to known officers only."""
    return press_registry.PROCESS.recent() if known_officer(context["request"]) else []


@register.simple_tag(takes_context=True)
def call_form(context: Context, card: TelephoneCard) -> CallForm | None:
    """Return the form "I telephoned" of a card; None to those who may not record a call.

    It is the one that was sent if that was refused, else an empty one.
    """
    user = context["request"].user
    if not has_permission(user, Permission.TELEPHONED):
        return None
    refused: CallForm | None = context.get("form")
    if refused and refused.pk == card.exchange.pk:
        return refused
    return CallForm.fresh(card.exchange.pk, user_id=user.pk)


@register.filter
def dial(number: str) -> str:
    """Return the address that dials a telephone number; "" for one with words in it."""
    digits = re.sub(r"[ ().-]", "", number)
    return f"tel:{digits}" if re.fullmatch(r"\+?[0-9]{3,20}", digits) else ""


@register.simple_tag
def press_badge(state: RequestState, status: Status) -> StatusBadge:
    """Return the badge that this request has once it is in the log."""
    row = CancelRequest(
        status=status,
        conclusion=state.sentence,
        reject_reason=state.reject_reason,
        open_after=state.open_after,
    )
    return final_badge(row)


@register.simple_tag
def manual_lines(states: Sequence[RequestState]) -> list[manual_cancel.Line]:
    """Return the commands for what is not confirmed."""
    return manual_cancel.lines(state.exchange_id for state in states if state.status != "CONFIRMED")
