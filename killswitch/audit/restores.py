"""Restores of a backup, as signed events: which kept heads the log may lack, and since when.

After a restore the log ends earlier than the checkpoints say. An event of the kind `RESTORED` names
the newest checkpoint that the log still contains and the newest that it lacks. Verification then
accepts that the checkpoints in between are missing, and reports the restore each time. The event is
signed with the key of the checkpoints: a person who can only write to the database cannot excuse a
truncated log with it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from killswitch.audit import canonical_json, chain, signing
from killswitch.audit.actors import Actor
from killswitch.audit.chain import Head
from killswitch.audit.checkpoints import Checkpoint
from killswitch.audit.event_reader import read
from killswitch.audit.models import AuditEvent, EventKind
from killswitch.audit.recorder import Recording

MAX_REASON_CHARS = 500


@dataclass(frozen=True, kw_only=True)
class Loss:
    """What checkpoints show about a restored log."""

    proven: Head  # the newest event of a checkpoint from before the loss that the log contains
    lost: Head  # the newest event of a checkpoint that the log lacks; number 0 if it lacks none


@dataclass(frozen=True, kw_only=True)
class Restore:
    """The data of one event `RESTORED`; a `lost_seq` of 0 means that no checkpoint is missing."""

    by: str
    recorded_at: str  # in UTC, as the times of events are hashed
    reason: str
    restored_seq: int  # the newest event at that moment
    restored_hash: str
    proven_seq: int
    proven_hash: str
    lost_seq: int
    lost_hash: str
    key_id: str
    signature: str

    @property
    def signed_text(self) -> bytes:
        """Return the canonical JSON of all members except the signature, which covers it."""
        members = asdict(self)
        del members["signature"]
        return canonical_json.encode(members).encode()

    def explains(self, checkpoint: Checkpoint) -> bool:
        """Return whether this restore is why the log lacks the event of a checkpoint."""
        return (
            self.proven_seq < checkpoint.seq <= self.lost_seq and checkpoint.at <= self.recorded_at
        )

    def is_signed_with(self, keys: Mapping[str, str]) -> bool:
        """Return whether one of these keys, public PEMs by ID, has made the signature."""
        key = keys.get(self.key_id, "")
        return bool(key) and signing.verify(self.signed_text, self.signature, key)

    def __str__(self) -> str:
        at = self.recorded_at[:19].replace("T", " ")
        loss = (
            f"checkpoints prove events up to {self.proven_seq}; of those after it, up to"
            f" {self.lost_seq}, what the backup did not contain is lost"
            if self.lost_seq
            else f"no checkpoint shows a loss; the newest one proves events up to {self.proven_seq}"
        )
        return (
            f"the log was restored from a backup, as {self.by} recorded on {at} UTC after event"
            f" {self.restored_seq} (reason: “{self.reason}”): {loss}"
        )


def record(record: Recording, loss: Loss, *, by: Actor, reason: str) -> Restore:
    """Record that the database was restored from a backup, in the open recording."""
    head = chain.head()
    draft = Restore(
        by=by.name,
        recorded_at=canonical_json.utc_text(datetime.now(UTC)),
        reason=reason,
        restored_seq=head.seq,
        restored_hash=head.hash,
        proven_seq=loss.proven.seq,
        proven_hash=loss.proven.hash,
        lost_seq=loss.lost.seq,
        lost_hash=loss.lost.hash,
        key_id=signing.key_id(),
        signature="",
    )
    restore = replace(draft, signature=signing.sign(draft.signed_text))
    record.event(EventKind.RESTORED, actor=by, data=asdict(restore))
    return restore


def recorded() -> Sequence[tuple[int, Restore | None]]:
    """Return the number of each event `RESTORED` and its data; None if it is not what we write."""
    events = AuditEvent.objects.filter(kind=str(EventKind.RESTORED)).order_by("seq")
    return [(event.seq, _parsed(read(event).facts)) for event in events]


def newest_seq() -> int:
    """Return the number of the newest event `RESTORED`, 0 without one."""
    events = AuditEvent.objects.filter(kind=str(EventKind.RESTORED)).order_by("-seq")
    return events.values_list("seq", flat=True).first() or 0


def _parsed(facts: Mapping[str, Any]) -> Restore | None:
    try:
        restore = Restore(**facts)
    except TypeError:
        return None
    numbers = {"restored_seq", "proven_seq", "lost_seq"}
    types_match = all(
        type(value) is (int if name in numbers else str) for name, value in asdict(restore).items()
    )
    return restore if types_match else None
