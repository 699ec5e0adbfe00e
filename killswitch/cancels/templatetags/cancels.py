"""Filters of the pages on cancel requests, and the commands for cancelling manually."""

import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlencode

from django import template
from django.template.context import Context
from django.urls import reverse
from django.utils.safestring import SafeString

from killswitch.accounts.templatetags.accounts import person_name
from killswitch.cancels import manual_cancel, status_display, status_help
from killswitch.cancels import outcome_line as outcome_lines
from killswitch.cancels.confirmation import Target
from killswitch.cancels.models import Attempt, Batch, CancelRequest
from killswitch.cancels.outcome_line import OutcomeLine
from killswitch.exchanges.models import Exchange
from killswitch.runtime.age import elapsed_ms
from killswitch.runtime.cached_markup import rendered
from killswitch.runtime.days import input_type
from killswitch.runtime.text import duration_text, escape_controls

register = template.Library()
register.filter("status_badge", status_display.status_badge)
register.filter("final_badge", status_display.final_badge)
register.filter("attempt_badge", status_display.attempt_badge)
register.filter("elapsed", status_display.elapsed)
register.filter("reopened_after", status_display.reopened_after)
register.filter("progress_text", status_display.progress_text)
register.filter("progress_counts", status_display.progress_counts)
register.filter("ends_at", status_display.ends_at)
register.filter("next_attempt_at", status_display.next_attempt_at)
register.filter("requester", outcome_lines.requester)
register.filter("status_help", status_help.status_help)

GESTURE_TEXTS = {
    "dialog": "confirmed in the dialog",
    "page": "confirmed on the page",
    "second button": "confirmed with the “Yes” button",
    "sent again with the same key": "sent again, recorded only once",
    "send again": "sent again",
    "retry": "retry",
    "command": "cancel_all command",
}
HELD = re.compile(r"held (\d{1,6}) ms, (\w{1,20})")
LATE_CLAIM_MS = 3000
MAX_HEX_BYTES = 2048


@register.simple_tag
def outcome_line(request: CancelRequest, has_new_orders: bool = False) -> OutcomeLine:
    """Return what `cancels/_outcome.html` shows of a request."""
    address = reverse("request", args=[request.uuid])
    return outcome_lines.outcome_line(request, address=address, has_new_orders=has_new_orders)


@register.filter
def journal_place(journal: str) -> str:
    """Return where a break-glass cancel was journaled: "<ID of the journal>, line 12"."""
    return ", line ".join(journal.split())


@register.filter
def hold_name(batch: Batch) -> str:
    """Return under which Hold the system cancels, by the reason that it gave."""
    name = batch.reason.removeprefix("Hold by ")
    return f"the Hold of {escape_controls(person_name(name))}" if name else "a Hold"


@register.filter
def claim_delay(request: CancelRequest) -> str:
    """Return how long a request waited for a worker, when that was long."""
    claimed_at, finished_at = request.first_claimed_at, request.finished_at
    if claimed_at and finished_at and finished_at < claimed_at:
        return ""  # the clock of the claim is wrong
    waited_ms = elapsed_ms(start=request.batch.asked_at, end=claimed_at)
    return duration_text(waited_ms) if waited_ms and waited_ms > LATE_CLAIM_MS else ""


@register.filter
def call_duration(attempt: Attempt) -> str:
    """Return how long a call to the EMS took."""
    return "" if attempt.duration_us is None else duration_text(attempt.duration_us / 1000)


@register.filter
def body_text(attempt: Attempt) -> str:
    """Return the bytes of an answer as text, with replacement characters for invalid UTF-8."""
    text = bytes(attempt.body or b"").decode("utf-8", errors="replace")
    return escape_controls(text, keep="\n\t")


@register.filter
def body_hex(attempt: Attempt) -> str:
    """Return the bytes of an answer in hexadecimal, when they are not valid UTF-8."""
    body = bytes(attempt.body or b"")
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        return body[:MAX_HEX_BYTES].hex(" ") + (" …" if len(body) > MAX_HEX_BYTES else "")
    return ""


@register.filter
def gesture_text(gesture: str) -> str:
    """Return how a request was confirmed, in words, e.g. "kept pressed for 1.0 s (mouse)"."""
    if hold := HELD.fullmatch(gesture):
        return f"kept pressed for {duration_text(float(hold[1]))} ({hold[2]})"
    return GESTURE_TEXTS.get(gesture, escape_controls(gesture))


@register.filter
def retry_label(exchanges: Sequence[Exchange]) -> str:
    """Return the label of the button that retries at once what was not confirmed."""
    return f"Retry now on {_named(exchanges)}"


@register.filter
def retry_link_label(exchanges: Sequence[Exchange]) -> str:
    """Return the label of the link to the question that comes before a retry."""
    return f"Retry on {_named(exchanges)}…"


def _named(exchanges: Sequence[Exchange]) -> str:
    if len(exchanges) == 1:
        return exchanges[0].exchange_id
    return f"these {len(exchanges)} exchanges"


@register.filter
def advised(requests: CancelRequest | Sequence[CancelRequest]) -> set[int]:
    """Return the keys of those requests, or of the one, that say what to do now."""
    return status_help.advised([requests] if isinstance(requests, CancelRequest) else requests)


@register.simple_tag
def manual_cancel_lines(exchanges: Iterable[Exchange]) -> list[manual_cancel.Line]:
    """Return the commands for cancelling without this console."""
    return manual_cancel.lines(exchange.exchange_id for exchange in exchanges)


class ManualCommands(NamedTuple):
    """The values of `_manual_commands.html`."""

    lines: tuple[manual_cancel.Line, ...]
    prefix: str
    cards_address: str  # as the template finds it


@register.simple_tag
def manual_commands(lines: Iterable[manual_cancel.Line], prefix: str) -> SafeString:
    """Show the commands for cancelling manually, which are the same on page after page."""
    commands = ManualCommands(tuple(lines), prefix, reverse("telephone_cards"))
    return rendered("_manual_commands.html", commands)


@register.simple_tag
def without_log_address(target: Target) -> str:
    """Return the address of the question whether to cancel there by break glass."""
    names = [] if target.everywhere else [row.exchange_id for row in target.covered]
    query = urlencode({"unanswered": 1, "exchange": names}, doseq=True)
    return f"{reverse('break_glass')}?{query}"


@register.inclusion_tag("cancels/_filter_field.html", takes_context=True)
def filter_field(
    context: Context,
    name: str,
    label: str,
    *,
    kind: str = "text",
    hint: str = "",
) -> dict[str, Any]:
    """Show a field of the filter of requests, as it was typed, with its error next to it."""
    errors, values = context.get("errors") or {}, context.get("values") or {}
    value = values.get(name, "")
    return {
        "name": name,
        "label": label,
        "type": input_type(value, kind=kind),
        "hint": hint,
        "value": value,
        "error": errors.get(name, ""),
    }
