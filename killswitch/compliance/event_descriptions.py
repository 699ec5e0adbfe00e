"""Says in one short sentence what happened, from the data of an event and nothing else.

An event of a kind that is not known here, or whose data says nothing, has no sentence.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

from killswitch.audit.event_data import EventData, read
from killswitch.audit.models import AuditEvent, Kind

MAX_CHARS: Final = 300  # characters
MAX_NAMED: Final = 5  # of a list


def describe(event: AuditEvent) -> str:
    """What a person reads beside the event's kind."""
    say = _DESCRIPTIONS.get(event.kind)
    text = " ".join(say(read(event)).split()) if say else ""
    return text if len(text) <= MAX_CHARS else f"{text[: MAX_CHARS - 1]}…"


def _requested(data: EventData) -> str:
    where = "Everywhere" if data.is_true("everywhere") else "On this exchange"
    before = data.number("open_before")
    known = f", {_count(before, 'open order')} known" if before is not None else ""
    reason = data.text("reason")
    return f"{where}{known}. {_quoted('Reason', reason) if reason else 'No reason was given.'}"


def _attempt(data: EventData) -> str:
    outcome = data.text("outcome").lower().replace("_", " ") or "outcome unknown"
    words = [f"Attempt {data.text('number')}: {outcome}"]
    if http := data.text("http_status"):
        words.append(f"HTTP {http}")
    if (micros := data.number("duration_us")) is not None:
        words.append(_duration(micros / 1000))
    if data.is_true("by_dead_holder"):
        words.append("by a process that died")
    said = data.text("message") or data.text("transport_error")
    return ", ".join(words) + "." + (f" “{said}”" if said else "")


def _taken_over(data: EventData) -> str:
    if data.text("dead_holder"):
        return "From a process that gave no more sign of life."
    return "From a process that had let go of it, or had never begun."


def _publish_failed(data: EventData) -> str:
    why = data.text("why")
    return f"The watchdog carries it out instead{f' ({why})' if why else ''}."


def _finished(data: EventData) -> str:
    calls = [_count(data.number("attempts"), "attempt"), _count(data.number("reads"), "read")]
    return f"{data.text('conclusion')} {', '.join(filter(None, calls)).capitalize()}."


def _reason_completed(data: EventData) -> str:
    return _quoted("Reason added afterwards", data.text("reason"))


def _alarm_raised(data: EventData) -> str:
    return f"{data.text('title')} {data.text('detail')}"


def _alarm_told(data: EventData) -> str:
    return f"Alarm {data.text('alarm')} was handed to {data.text('place')}."


def _alarm_acknowledged(data: EventData) -> str:
    return f"Alarm {data.text('alarm')}."


def _signed(data: EventData) -> str:
    address = data.text("address")
    return f"From {address}." if address else ""


def _sign_in_failed(data: EventData) -> str:
    name = data.text("username")
    why = data.text("why").capitalize() or "Refused"
    return f"{why}{f' for {name}' if name else ''}.{_repeated(data)} {_signed(data)}"


def _denied(data: EventData) -> str:
    tried = f"{data.text('method')} {data.text('path')}"
    return f"{tried}, which needs the permission {data.text('permission')}.{_repeated(data)}"


def _changed(data: EventData) -> str:
    who = data.text("person")
    pairs = [_change(name, pair) for name, pair in data.inner("changes").facts.items()]
    what = "; ".join(pairs)
    return f"{who}: {what}." if who and what else f"{who or what or data.text('name')}."


def _code_used(data: EventData) -> str:
    left = data.number("left")
    return f"{data.text('person')}{f': {left} left' if left is not None else ''}."


def _started(data: EventData) -> str:
    programs = data.items("programs")
    return f"On {data.text('host')}, {_count(len(programs), 'program')}."


def _put_back(data: EventData) -> str:
    return f"Found: {_named(data.items('found'), between='; ')}."


def _exported(data: EventData) -> str:
    chosen = data.inner("filter").facts
    what = ", ".join(f"{name} {value}" for name, value in chosen.items()) or "the whole log"
    return f"{data.text('format').upper()}: {what}."


def _export_completed(data: EventData) -> str:
    count = _count(data.number("count"), "event") or "Some events"
    return f"{count}, begun in event {data.text('export')}."


def _marked(data: EventData) -> str:
    seqs = data.numbers("events")
    about = f"Event{'s' if len(seqs) > 1 else ''} {_named(seqs)}." if seqs else ""
    if data.numbers("own"):
        about += " The reviewer's own."
    note = data.text("note")
    return f"{about} “{note}”" if note else about


def _signed_off(data: EventData) -> str:
    first, last = data.text("first_seq"), data.text("last_seq")
    left = data.inner("review").number("unreviewed")
    return f"Events {first} to {last}; not reviewed: {left:,}." if left is not None else ""


def _quoted(title: str, text: str) -> str:
    return f"{title}: “{text}”"


def _repeated(data: EventData) -> str:
    count = data.number("count") or 1
    return f" For the {count:,}th time within the hour." if count > 1 else ""


def _change(name: str, pair: Any) -> str:
    before, after = pair if isinstance(pair, list) and len(pair) == 2 else (None, pair)
    words = name.replace("_", " ")
    if before in (None, ""):
        return f"{words} {_value(after)}"
    return f"{words} {_value(before)} → {_value(after)}"


def _value(value: Any) -> str:
    match value:
        case True | False:
            return "yes" if value else "no"
        case None | "":
            return "nothing"
        case _:
            return str(value)


def _named(items: Iterable[Any], *, between: str = ", ") -> str:
    names = [str(item) for item in items]
    more = len(names) - MAX_NAMED
    return between.join(names[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")


def _count(number: int | None, noun: str) -> str:
    if number is None:
        return ""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _duration(milliseconds: float) -> str:
    return f"{milliseconds:.0f} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.1f} s"


_DESCRIPTIONS: Final[dict[str, Callable[[EventData], str]]] = {
    Kind.STARTED: _started,
    Kind.STOPPED: _started,
    Kind.REQUESTED: _requested,
    Kind.PUBLISH_FAILED: _publish_failed,
    Kind.TAKEN_OVER: _taken_over,
    Kind.ATTEMPT: _attempt,
    Kind.FINISHED: _finished,
    Kind.REASON_COMPLETED: _reason_completed,
    Kind.ALARM_RAISED: _alarm_raised,
    Kind.ALARM_TOLD: _alarm_told,
    Kind.ALARM_ACKNOWLEDGED: _alarm_acknowledged,
    Kind.SIGNED_IN: _signed,
    Kind.SIGN_IN_FAILED: _sign_in_failed,
    Kind.SIGNED_OUT: _signed,
    Kind.DENIED: _denied,
    Kind.EXCHANGE_ADDED: _changed,
    Kind.EXCHANGE_CHANGED: _changed,
    Kind.PERSON_ADDED: _changed,
    Kind.PERSON_CHANGED: _changed,
    Kind.ROLE_CHANGED: _changed,
    Kind.PASSWORD_CHANGED: _changed,
    Kind.SECOND_FACTOR_ADDED: _changed,
    Kind.SECOND_FACTOR_REMOVED: _changed,
    Kind.SECOND_FACTOR_RESET: _changed,
    Kind.RECOVERY_CODES_RENEWED: _changed,
    Kind.RECOVERY_CODE_USED: _code_used,
    Kind.GUARDS_PUT_BACK: _put_back,
    Kind.EXPORTED: _exported,
    Kind.EXPORT_COMPLETED: _export_completed,
    Kind.REVIEWED: _marked,
    Kind.QUERIED: _marked,
    Kind.CLOSED: _marked,
    Kind.PERIOD_SIGNED_OFF: _signed_off,
}
