"""Describes the events of cancel requests."""

from killswitch.audit.descriptions import count_text, descriptions
from killswitch.audit.event_reader import EventData
from killswitch.audit.filter_fields import status_labels
from killswitch.audit.models import EventKind
from killswitch.cancels.models import Origin
from killswitch.cancels.states import LABELS
from killswitch.cancels.status_display import OUTCOME_TEXTS
from killswitch.runtime.text import duration_text


def _requested(data: EventData) -> str:
    scope = "Cancel on this exchange"
    break_glass = ""
    if data.text("origin") == Origin.BREAK_GLASS:
        break_glass = f"Sent by break glass at {_time(data, 'asked_at')}, recorded afterwards. "
    if data.is_true("everywhere"):
        scope = "Part of a cancel on all enabled exchanges"
    elif group := data.text("group"):
        scope = f"Part of a cancel on the group “{group}”"
    retried = data.text("retry_of")
    orders = count_text(data.number("open_before"), "open order")
    reason = data.text("reason")
    return (
        f"{break_glass}{scope}{f'; {orders} before the request' if orders else ''}. "
        f"{f'Retry of the cancel {retried}. ' if retried else ''}"
        f"{_not_included(data)}"
        f"{f'Reason: “{reason}”' if reason else 'No reason given.'}"
    )


def _not_included(data: EventData) -> str:
    total = data.inner("not_included_total")
    exchanges, orders = total.number("exchanges"), total.number("open_orders")
    if not exchanges:
        return ""
    open_orders = f" with {count_text(orders, 'open order')}" if orders else ""
    return f"Not included: {count_text(exchanges, 'exchange')}{open_orders}. "


def _time(data: EventData, name: str) -> str:
    """Return the time of the data in seconds; its events were all recorded at once."""
    return f"{data.text(name)[:19].replace('T', ' ')} UTC"


def _publish_failed(data: EventData) -> str:
    error = data.text("why")
    return f"The watchdog picks up these requests instead{f' ({error})' if error else ''}."


def _taken_over(data: EventData) -> str:
    if data.text("dead_holder"):
        return "Taken over from a process that did not finish."
    return "Taken over because no process was working on it."


def _attempt(data: EventData) -> str:
    outcome = OUTCOME_TEXTS.get(data.text("outcome"), "outcome unknown")
    status, duration_us = data.text("http_status"), data.number("duration_us")
    parts = [
        f"Attempt {data.text('number')}: {outcome}",
        f"HTTP {status}" if status else "",
        "" if duration_us is None else duration_text(duration_us / 1000),
        "recorded for a process that did not finish" if data.is_true("by_dead_holder") else "",
    ]
    message = data.text("message") or data.text("transport_error")
    return f"{', '.join(filter(None, parts))}.{f' “{message}”' if message else ''}"


def _finished(data: EventData) -> str:
    counts = [
        count_text(data.number("attempts"), "attempt"),
        count_text(data.number("reads"), "check"),
    ]
    text = f"{data.text('conclusion')} {', '.join(filter(None, counts)).capitalize()}."
    if data.text("origin") == Origin.BREAK_GLASS and data.text("finished_at"):
        text += f" By break glass; ended at {_time(data, 'finished_at')}."
    return text


def _second_look(data: EventData) -> str:
    after, count, error = (
        f"After {data.text('after_s')} s",
        data.number("open_orders"),
        data.text("error"),
    )
    if count is None:
        return f"{after}: the list could not be read ({error})."
    if count == 0:
        return f"{after}: still none open."
    orders = count_text(count, "order")
    return f"{after}: at least {orders} open ({error})." if error else f"{after}: {orders} open."


def _requests_exported(data: EventData) -> str:
    count = count_text(data.number("count"), "request") or "Some requests"
    facts = data.inner("filter").facts.items()
    selection = ", ".join(f"{name} {value}" for name, value in facts)
    return f"{count} as CSV: {selection or 'no filter'}."


status_labels |= {str(status): label for status, label in LABELS.items()}
descriptions |= {
    EventKind.REQUESTED: _requested,
    EventKind.PUBLISH_FAILED: _publish_failed,
    EventKind.TAKEN_OVER: _taken_over,
    EventKind.ATTEMPT: _attempt,
    EventKind.FINISHED: _finished,
    EventKind.SECOND_LOOK: _second_look,
    EventKind.REQUESTS_EXPORTED: _requests_exported,
    EventKind.REASON_COMPLETED: lambda data: f"Reason added afterwards: “{data.text('reason')}”",
}
