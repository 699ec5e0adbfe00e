"""Describes the events of Holds."""

from killswitch.audit.descriptions import MAX_LISTED, count_text, descriptions
from killswitch.audit.event_reader import EventData
from killswitch.audit.models import EventKind
from killswitch.runtime.text import duration_text


def _started(data: EventData) -> str:
    start = "Held with a cancel" if data.text("batch") else "Held without a separate cancel"
    orders = count_text(data.number("open_orders"), "open order")
    reason = data.text("reason")
    return (
        f"{start}{f'; {orders} at the time' if orders else ''}. "
        f"{f'Reason: “{reason}”' if reason else 'No reason given.'}"
    )


def _episode(data: EventData) -> str:
    life_ms = data.number("longest_life_ms")
    symbols = list(map(str, data.items("symbols")))
    more = len(symbols) - MAX_LISTED
    parts = [
        _counts_text(data),
        f"longest open {duration_text(life_ms)}" if life_ms else "",
        "began blind" if data.is_true("began_blind") else "",
    ]
    listed = f"{', '.join(symbols[:MAX_LISTED])}{f' and {more} more' if more > 0 else ''}"
    return (
        f"Episode {data.text('number')}: {', '.join(filter(None, parts)) or 'no figures'}."
        f"{f' {listed}.' if symbols else ''}"
    )


def _blind(data: EventData) -> str:
    error = data.text("error")
    reason = f" ({error})" if error else ""
    return f"The open orders cannot be read{reason}. Cancels should still be sent."


def _sees_again(data: EventData) -> str:
    seconds = data.number("seconds")
    after = "" if seconds is None else f" after {duration_text(seconds * 1000)}"
    return f"The open orders can be read again{after}."


def _release_requested(data: EventData) -> str:
    orders = count_text(data.number("open_orders"), "open order")
    waits = "" if data.number("persons_required") == 1 else "Another person must confirm it."
    return f"Reason: “{data.text('reason')}”{f'; {orders}' if orders else ''}. {waits}"


def _still_held(data: EventData, ending: str) -> str:
    by = data.text("requested_by")
    return f"The release{f' requested by {by}' if by else ''} {ending}; the Hold stays in force."


def _released(data: EventData) -> str:
    by, reason, note = (data.text(name) for name in ("requested_by", "reason", "note"))
    episodes = count_text(data.number("episodes"), "episode")
    figures = ", ".join(filter(None, (episodes, _counts_text(data))))
    parts = [
        f"Requested by {by}{f': “{reason}”' if reason else '.'}" if by else "",
        f"Note: “{note}”" if note else "",
        "One risk officer was enough." if data.number("persons_required") == 1 else "",
        f"{figures}." if figures else "",
    ]
    return " ".join(filter(None, parts))


def _counts_text(data: EventData) -> str:
    seen, cancelled = data.number("orders_seen"), data.number("orders_cancelled")
    parts = [
        "" if seen is None else f"{count_text(seen, 'order')} seen",
        "" if cancelled is None else f"{cancelled:,} no longer listed after a cancel",
    ]
    return ", ".join(filter(None, parts))


descriptions |= {
    EventKind.HOLD_STARTED: _started,
    EventKind.HOLD_EPISODE: _episode,
    EventKind.HOLD_BLIND: _blind,
    EventKind.HOLD_SEES_AGAIN: _sees_again,
    EventKind.HOLD_RELEASE_REQUESTED: _release_requested,
    EventKind.HOLD_RELEASE_WITHDRAWN: lambda data: _still_held(data, "was withdrawn"),
    EventKind.HOLD_RELEASE_LAPSED: lambda data: _still_held(data, "was not confirmed in time"),
    EventKind.HOLD_RELEASED: _released,
}
