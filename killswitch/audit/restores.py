"""Restores of a backup, as signed events: which kept heads the log lacks since then.

After a restore the log lacks events of which checkpoints are kept elsewhere. An event of the kind
`RESTORED` lists the hashes of these. Verification then accepts that they are missing, and reports
the restore each time. The event is signed with the key of the checkpoints, so that a person who can
only write to the database cannot excuse a truncated log with it, and it names the head after which
it was recorded, so that it counts in this log only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any

from killswitch.audit import canonical_json, chain, signing
from killswitch.audit.actors import Actor
from killswitch.audit.chain import Head
from killswitch.audit.event_reader import read
from killswitch.audit.models import AuditEvent, EventKind
from killswitch.audit.recorder import Recording
from killswitch.runtime.text import pluralize_count

MAX_REASON_CHARS = 500
RESTORED = "RESTORED"  # the occasion of the checkpoint that follows the event
MAX_LOST_HEADS = 20_000  # one every half minute for a week; as many fit into one event


class NotFirst(Exception):
    """The signed head is not the one before the event: the recording must be rolled back."""


NUMBERS = ("restored_seq", "checkpoints", "proven_seq", "lost_seq", "replaced")


@dataclass(frozen=True, kw_only=True)
class Loss:
    """What the checkpoints that were read show about a restored log."""

    checkpoints: int  # how many were read
    proven: Head  # the newest one that the log contains and that was written before the loss
    lost_seq: int  # the highest number of an event that the log lacks; 0 if it lacks none
    lost_heads: Sequence[str]  # the hashes of all events that the log lacks
    replaced: int  # how many of them have another event in their place


@dataclass(frozen=True, kw_only=True)
class Restore:
    """The data of one event `RESTORED`."""

    by: str
    recorded_at: str  # in UTC, as the times of events are hashed
    reason: str
    restored_seq: int  # the newest event at that moment
    restored_hash: str
    checkpoints: int
    proven_seq: int
    proven_hash: str
    lost_seq: int
    lost_heads: list[str]
    replaced: int
    key_id: str
    signature: str

    @property
    def signed_text(self) -> bytes:
        """Return the canonical JSON of all members except the signature, which covers it."""
        members = asdict(self)
        del members["signature"]
        return canonical_json.encode(members).encode()

    def belongs_to(self, event: AuditEvent) -> bool:
        """Return whether it was signed for this place in this log: what came before is the same."""
        return (self.restored_seq, self.restored_hash) == (event.seq - 1, event.previous)

    def is_signed_with(self, keys: Mapping[str, str]) -> bool:
        """Return whether one of these keys, public PEMs by ID, has made the signature."""
        key = keys.get(self.key_id, "")
        return bool(key) and signing.verify(self.signed_text, self.signature, key)

    def __str__(self) -> str:
        at = self.recorded_at[:19].replace("T", " ")
        return (
            f"the log was restored from a backup, as {self.by} recorded on {at} UTC after event"
            f" {self.restored_seq} (reason: “{self.reason}”): {self._loss}"
        )

    @property
    def _loss(self) -> str:
        if not self.checkpoints:
            return "there were no checkpoints, so what was lost is not known"
        proof = f"checkpoints prove events up to {self.proven_seq}"
        if not self.lost_heads:
            return f"{proof}, and no further one is missing"
        lost = pluralize_count(len(self.lost_heads), "checkpoint")
        text = f"{proof}, and the log lacks the events of {lost}, up to event {self.lost_seq}"
        if self.replaced:
            text += (
                f"; {self.replaced} of these numbers belong to other events now, which were"
                " recorded between the restore and this event, or the log was rewritten"
            )
        return text


TYPES: Mapping[str, type] = {
    field.name: int if field.name in NUMBERS else list if field.name == "lost_heads" else str
    for field in fields(Restore)
}


def record(record: Recording, loss: Loss, *, by: Actor, reason: str) -> Restore:
    """Record that the database was restored from a backup, as the first event of a recording.

    Raises `NotFirst` if another process has recorded an event meanwhile.
    """
    head = chain.head()
    draft = Restore(
        by=by.name,
        recorded_at=canonical_json.utc_text(datetime.now(UTC)),
        reason=reason,
        restored_seq=head.seq,
        restored_hash=head.hash,
        checkpoints=loss.checkpoints,
        proven_seq=loss.proven.seq,
        proven_hash=loss.proven.hash,
        lost_seq=loss.lost_seq,
        lost_heads=list(loss.lost_heads),
        replaced=loss.replaced,
        key_id=signing.key_id(),
        signature="",
    )
    restore = replace(draft, signature=signing.sign(draft.signed_text))
    record.event(EventKind.RESTORED, actor=by, data=asdict(restore))
    (event,) = record.write_events()
    if not restore.belongs_to(event):
        raise NotFirst
    return restore


def recorded() -> Sequence[tuple[AuditEvent, Restore | None]]:
    """Return each event `RESTORED` and its data; None if it is not what we write."""
    events = AuditEvent.objects.filter(kind=str(EventKind.RESTORED)).order_by("seq")
    return [(event, _parsed(read(event).facts)) for event in events]


def newest_seq() -> int:
    """Return the number of the newest event `RESTORED`, 0 without one."""
    events = AuditEvent.objects.filter(kind=str(EventKind.RESTORED)).order_by("-seq")
    return events.values_list("seq", flat=True).first() or 0


def _parsed(facts: Mapping[str, Any]) -> Restore | None:
    try:
        restore = Restore(**facts)
        is_usual = all(
            type(getattr(restore, field.name)) is TYPES[field.name] for field in fields(Restore)
        )
        if not is_usual or not all(type(head) is str for head in restore.lost_heads):
            return None
        _ = restore.signed_text
    except (TypeError, ValueError):  # other members, or none that canonical JSON can contain
        return None
    return restore
