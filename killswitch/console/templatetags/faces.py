"""What templates say: statuses, times, counts and foreign text, for people."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from django import template
from django.utils import timezone

from killswitch.accounts.models import Role
from killswitch.alarms.services import is_about
from killswitch.audit.models import Kind
from killswitch.cancels import manual_cancel
from killswitch.cancels.models import Attempt, CancelRequest
from killswitch.cancels.states import Status
from killswitch.cancels.status_display import (
    StatusBadge,
    ends_at,
    progress_counts,
    progress_text,
)
from killswitch.ems.answers import Outcome
from killswitch.exchanges.models import Exchange
from killswitch.runtime.text import pluralize_count

register = template.Library()
register.filter("is_about", is_about)
register.filter("count", pluralize_count)
register.filter("doing", progress_text)
register.filter("ends_at", ends_at)
register.filter("progress", progress_counts)

OUTCOME_WORDS: dict[str, str] = {
    Outcome.ACKNOWLEDGED: "acknowledged by the EMS",
    Outcome.REJECTED: "refused by the EMS",
    Outcome.UNKNOWN: "ended without a usable answer",
    Outcome.NOT_DELIVERED: "not delivered",
}
LATE = 3  # seconds from the press until somebody has taken it up
READY_ICONS = {"READY": "ok", "DEGRADED": "half", "NOT_READY": "no", "NOT_KNOWN": "ask"}
READY_TONES = {"READY": "good", "DEGRADED": "warn", "NOT_READY": "bad"}


@register.filter
def face(request: CancelRequest) -> StatusBadge:
    """Mark, tone and words of a request's status."""
    return StatusBadge.of(
        Status(request.status), reject_reason=request.reject_reason, open_after=request.open_after
    )


@register.filter
def ready_icon(word: str) -> str:
    """The mark of the readiness word."""
    return READY_ICONS.get(word, "ask")


@register.filter
def ready_tone(word: str) -> str:
    return READY_TONES.get(word, "odd")


@register.filter
def took(request: CancelRequest) -> str:
    """From the press to the end, e.g. "212 ms" or "11.8 s"."""
    if not request.finished_at:
        return ""
    return duration((request.finished_at - request.batch.asked_at).total_seconds() * 1000)


@register.filter
def lateness(request: CancelRequest) -> str:
    """How late somebody took it up, when that was late."""
    if not request.first_claimed_at:
        return ""
    waited = (request.first_claimed_at - request.batch.asked_at).total_seconds()
    return duration(waited * 1000) if waited > LATE else ""


@register.filter
def duration(milliseconds: float | None) -> str:
    """A duration that a person reads at once."""
    if milliseconds is None:
        return ""
    return f"{milliseconds:.0f} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.1f} s"


@register.filter
def milliseconds(attempt: Attempt) -> str:
    """How long a call took."""
    return "" if attempt.duration_us is None else duration(attempt.duration_us / 1000)


@register.filter
def clock(at: datetime | None) -> str:
    """UTC: the time alone when it is today, else with its day."""
    if at is None:
        return ""
    at = at.astimezone(UTC)
    now = timezone.now()
    if at.date() == now.date():
        return f"{at:%H:%M:%S}"
    year = f" {at:%Y}" if at.year != now.year else ""
    return f"{at.day} {at:%b}{year} {at:%H:%M:%S}"


@register.filter
def exact(at: datetime | None) -> str:
    """UTC to the millisecond, for evidence."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}"[:-3] if at else ""


@register.filter
def micro(at: datetime) -> str:
    """UTC to the microsecond, as the log keeps it."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}"


@register.filter
def machine(at: datetime | None) -> str:
    """For a `datetime` attribute."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z" if at else ""


@register.filter
def epoch(at: datetime | None) -> int:
    """Milliseconds for the page's scripts, 0 for never."""
    return round(at.timestamp() * 1000) if at else 0


@register.filter
def body_text(attempt: Attempt) -> str:
    """An answer's bytes as text; what is not UTF-8 shows as replacement marks."""
    return visible(bytes(attempt.body or b"").decode("utf-8", errors="replace"))


@register.filter
def body_hex(attempt: Attempt) -> str:
    """The same bytes exactly, when text would not tell all of them."""
    body = bytes(attempt.body or b"")
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        return body[:2048].hex(" ") + (" …" if len(body) > 2048 else "")
    return ""


@register.filter
def asked_by(request: CancelRequest) -> str:
    return plain_name(request.batch.by_name)


@register.filter
def plain_name(name: str) -> str:
    """A name as people say it; the log keeps the account name with it."""
    return name.partition(" (")[0]


@register.filter
def kind_label(kind: str) -> str:
    """An event's kind in words; one that is not known yet as it stands."""
    return Kind(kind).label if kind in Kind.values else kind


@register.filter
def role_label(role: str) -> str:
    """A role in words; the operating system's own as it stands."""
    return str(Role(role).label) if role in Role.values else role


@register.filter
def outcome_words(outcome: str) -> str:
    return OUTCOME_WORDS.get(outcome, outcome)


@register.filter
def thousands(number: int) -> str:
    return f"{number:,}"


@register.filter
def try_again(exchanges: Sequence[Exchange]) -> str:
    """The label of the button that asks once more for those that did not confirm."""
    if len(exchanges) == 1:
        return f"Try again on {exchanges[0].exchange_id}"
    return f"Try again on these {len(exchanges)}"


@register.filter
def visible(text: str) -> str:
    """Control characters as their pictures, so that none of them acts on a screen."""
    return "".join(
        sign if sign.isprintable() or sign in "\n\t" else _picture(ord(sign)) for sign in text
    )


@register.filter
def words(text: str) -> list[str]:
    return text.split()


@register.filter
def spaced(symbol: str) -> str:
    return symbol.replace("_", " ")


@register.simple_tag
def by_hand_lines(exchanges: Iterable[Exchange] = ()) -> list[manual_cancel.Line]:
    """The commands for cancelling without this console."""
    return manual_cancel.lines([exchange.exchange_id for exchange in exchanges])


def _picture(code: int) -> str:
    return chr(0x2400 + code) if code < 0x20 else f"\\u{code:04x}"
