"""Words the notification of one alarm, or of many that one batch has raised."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from killswitch import structured_logs
from killswitch.alarms.models import Alarm, AlarmKind, Severity
from killswitch.audit.canonical_json import utc_text
from killswitch.runtime.text import truncate

# Of a combined message: with all of them, it stays below the limits of most channels.
MAX_TITLE_CHARS = 200
TITLE_SEPARATOR = " · "
MAX_TITLE_NAMES_CHARS = 60
MAX_NAMES_CHARS = 1000  # shared by the kinds of failure, so that every one of them is named
MIN_NAMES_CHARS = 60
MAX_LIST_CHARS = 2000
MAX_EXAMPLE_CHARS = 1200
MAX_EXAMPLES_CHARS = 1600


@dataclass(frozen=True, kw_only=True)
class Message:
    """What a channel is sent."""

    title: str
    body: str
    urgent: bool = True
    severity: Severity = Severity.KILL

    @classmethod
    def about(cls, *alarms: Alarm) -> Self:
        """Return the message that notifies of an alarm, or of several of one batch."""
        title, body = _single(alarms[0]) if len(alarms) == 1 else _combined(alarms)
        severity = min(alarm.severity for alarm in alarms)
        title = f"{_kind_of_message(alarms, severity)}{TITLE_SEPARATOR}{title}"
        return cls(
            title=structured_logs.masked(truncate(title, MAX_TITLE_CHARS)),
            body=structured_logs.masked(body),
            severity=severity,
        )


def _kind_of_message(alarms: Sequence[Alarm], severity: Severity) -> str:
    """Return how urgent the message is, and whether it repeats what nobody has acknowledged."""
    waiting = [alarm for alarm in alarms if alarm.is_unacknowledged and alarm.overdue_level]
    if len(waiting) < len(alarms):
        return severity.label
    minutes = (datetime.now(UTC) - min(alarm.raised_at for alarm in waiting)).total_seconds() // 60
    return f"{severity.label}, not acknowledged for {max(0, minutes):.0f} min"


def _single(alarm: Alarm) -> tuple[str, str]:
    """Return title and body of the message about one alarm."""
    lines = [
        alarm.detail,
        f"Exchange: {alarm.exchange_id}" if alarm.exchange_id else "",
        f"Request: {alarm.request_id}" if alarm.request_id else "",
        f"Raised at {utc_text(alarm.raised_at)}.",
        _state(alarm),
    ]
    return alarm.title, "\n".join(line for line in lines if line)


def _state(alarm: Alarm) -> str:
    """Return how long the alarm stays, or why it is over: a message may be sent late."""
    if alarm.resolved_at:
        return f"Resolved at {utc_text(alarm.resolved_at)}: {alarm.resolution}"
    if alarm.acknowledged_at:
        return f"Acknowledged by {alarm.acknowledged_by} at {utc_text(alarm.acknowledged_at)}."
    end = "someone acknowledges it"
    if alarm.kind == AlarmKind.STALLED:
        end = "the request makes progress or someone acknowledges it"
    return f"This alarm stays on the console until {end}. Open the console for details."


def _states(alarms: Sequence[Alarm]) -> str:
    """Return how many of the alarms are already over; the others wait for a person."""
    over = sum(not alarm.is_unacknowledged for alarm in alarms)
    if not over:
        return "They stay on the console until someone acknowledges them."
    return f"{over} of them {'was' if over == 1 else 'were'} acknowledged or resolved already."


def _combined(alarms: Sequence[Alarm]) -> tuple[str, str]:
    """Return title and body of the message about many alarms, those alike together."""
    alike: dict[str, list[Alarm]] = defaultdict(list)
    for alarm in alarms:
        alike[alarm.summary or alarm.title].append(alarm)
    groups = sorted(alike.items(), key=lambda item: (item[1][0].severity, -len(item[1])))
    # Not "3 orders still open", which would count orders.
    counts = [f"{len(group)}x {failure}" for failure, group in groups]
    names_chars = max(MIN_NAMES_CHARS, MAX_NAMES_CHARS // len(groups))
    lines = [
        f"{count}: {_names(group, max_chars=names_chars)}"
        for count, (_, group) in zip(counts, groups, strict=True)
    ]
    examples = [
        truncate(f"{group[0].title}\n{group[0].detail}", MAX_EXAMPLE_CHARS) for _, group in groups
    ]
    first_at, last_at = (utc_text(alarm.raised_at) for alarm in (alarms[0], alarms[-1]))
    body = [
        _join(lines, separator="\n", max_chars=MAX_LIST_CHARS),
        _join(["One example of each:", *examples], separator="\n\n", max_chars=MAX_EXAMPLES_CHARS),
        f"{len(alarms)} alarms, raised from {first_at} to {last_at}. {_states(alarms)}"
        " Open the console for the details of every exchange.",
    ]
    if len(groups) == 1:
        failures = f"{groups[0][0]}: {_names(alarms, max_chars=MAX_TITLE_NAMES_CHARS)}"
    else:
        failures = _join(counts, separator="; ", max_chars=MAX_TITLE_CHARS - 40)
    exchange_count = len({alarm.request_id for alarm in alarms})
    title = f"{exchange_count} of {alarms[0].batch_size} exchanges: {failures}"
    return title, "\n\n".join(body)


def _names(alarms: Sequence[Alarm], *, max_chars: int) -> str:
    return _join([alarm.exchange_id for alarm in alarms], separator=", ", max_chars=max_chars)


def _join(items: Sequence[str], *, separator: str, max_chars: int) -> str:
    """Join the first item and as many more as fit, and count those that are left out."""
    text = items[0]
    for index, item in enumerate(items[1:], 1):
        if len(text) + len(separator) + len(item) > max_chars:
            return f"{text}{separator}… and {len(items) - index} more"
        text += separator + item
    return text
