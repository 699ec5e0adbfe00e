"""Compares checkpoints with the chain: is each head still in the log, and did we sign it?"""

from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from killswitch.audit import checkpoints, restores, signing
from killswitch.audit.chain import GENESIS, Head
from killswitch.audit.checkpoints import MAX_LINE_BYTES, Checkpoint, InvalidCheckpoint
from killswitch.audit.models import AuditEvent
from killswitch.audit.restores import MAX_LOST_HEADS, RESTORED, Loss
from killswitch.audit.verification import chain_walk
from killswitch.audit.verification.findings import Finding, Progress, Proof, VerificationImpossible

BATCH_SIZE = 500
MAX_UNCOVERED_AGE = timedelta(minutes=2)  # of an event that no checkpoint covers yet


@dataclass(frozen=True, kw_only=True)
class CheckpointResult:
    """The result for one file of checkpoints."""

    finding: Finding | None = None
    reach: int = 0  # the newest event that a checkpoint covers
    warnings: tuple[str, ...] = ()


def check(file: Path | None, *, public_pems: Sequence[str], progress: Progress) -> CheckpointResult:
    """Check a file that was kept elsewhere, or our own one. Raises `VerificationImpossible`."""
    path = file or checkpoints.default_path()
    reader = _Reader(is_our_own=file is None, public_pems=public_pems)
    if file is None and not path.exists():
        return reader.without_file(f"there is no {path.name}: a truncated log would go unnoticed")
    return reader.read(path, progress)


def find_loss(files: Sequence[Path], *, public_pems: Sequence[str], progress: Progress) -> Loss:
    """Return what the checkpoints of these files show about a log restored from a backup.

    Raises `VerificationImpossible`, also when a file was changed.
    """
    readers = []
    for path in files:
        is_our_own = path == checkpoints.default_path()
        reader = _LossReader(is_our_own=is_our_own, public_pems=public_pems)
        if finding := reader.read(path, progress).finding:
            raise VerificationImpossible(f"{path}: {finding.reason}")
        if reader.has_signatures and not signing.key_id():
            raise VerificationImpossible(
                f"{path} is signed, but this process has no key to sign the event with: set"
                " AUDIT_SIGNING_KEY as for the kill switch"
            )
        readers.append(reader)
    lost = {head.hash: head.seq for reader in readers for head in reader.lost}
    if len(lost) > MAX_LOST_HEADS:
        raise VerificationImpossible(
            f"{len(lost)} checkpoints are of events that this database lacks, and at most"
            f" {MAX_LOST_HEADS} can be recorded: restore a newer backup"
        )
    # A file without a loss may have been begun after the restore, by a system started too early.
    witnesses = [reader for reader in readers if reader.lost] or readers
    return Loss(
        checkpoints=sum(reader.count for reader in readers),
        proven=max((reader.proven for reader in witnesses), key=_seq, default=Head()),
        lost_seq=max(lost.values(), default=0),
        lost_heads=list(lost),
        replaced=len({hash_ for reader in readers for hash_ in reader.replaced}),
    )


class _Reader:
    """Reads a file of checkpoints once, line by line, up to the first problem."""

    def __init__(self, *, is_our_own: bool, public_pems: Sequence[str]) -> None:
        self._is_our_own = is_our_own
        pems = (signing.public_key_pem_if_made(), *public_pems)
        self._keys = {signing.key_id(pem): pem for pem in pems if pem}
        self._finding: Finding | None = None
        self._warnings: Counter[str] = Counter()
        self._restores = self._read_restores()
        # Without a key, an event `RESTORED` proves nothing by itself: anyone who can write to the
        # database could have made it. The line that `record_restore` added to this file does.
        self._confirmed_seq = 0  # the newest event that such a line covers
        self._unconfirmed: tuple[int, Finding] | None = None  # the event needed, and why
        self._reach = 0
        self._previous = GENESIS
        # The number of an unreadable line, until the next line shows that a crash left it.
        self._unreadable = 0

    def without_file(self, warning: str) -> CheckpointResult:
        return CheckpointResult(warnings=(*self._warnings, warning))

    def read(self, path: Path, progress: Progress) -> CheckpointResult:
        """Read a file. Raises `VerificationImpossible`."""
        try:
            return self._read(path, progress)
        except OSError as error:
            raise VerificationImpossible(f"{path} cannot be read ({error.strerror})") from None

    def _read_restores(self) -> dict[str, int]:
        """Return the hashes of heads that restored backups have lost, each with its event.

        Warn about every restore.
        """
        lost: dict[str, int] = {}
        for event, restore in restores.recorded():
            seq = event.seq
            if restore is None or (self._keys and not restore.is_signed_with(self._keys)):
                self._warnings[
                    f"event {seq} says that a backup was restored, but no known key has signed it:"
                    " it is not relied on"
                ] += 1
            elif not restore.belongs_to(event):
                self._warnings[
                    f"event {seq} says that a backup was restored, but it was made for another log:"
                    " it is not relied on"
                ] += 1
            else:
                self._warnings[str(restore)] += 1
                lost |= dict.fromkeys(restore.lost_heads, seq)
        return lost

    def _read(self, path: Path, progress: Progress) -> CheckpointResult:
        batch: list[Checkpoint] = []
        count = 0
        with path.open("rb") as file:
            # An endless line comes in pieces. Half a checkpoint is shorter, and a whole one too.
            pieces = iter(partial(file.readline, MAX_LINE_BYTES), b"")
            for number, piece in enumerate(pieces, start=1):
                is_complete = piece.endswith(b"\n") or len(piece) == MAX_LINE_BYTES
                line = piece.removesuffix(b"\n")
                if not self._is_our_own:  # a copy may have been sent by mail, or saved by an editor
                    line = line.removeprefix(BOM_UTF8).strip()
                    if not line:
                        continue
                if checkpoint := self._read_line(line, number=number, is_complete=is_complete):
                    batch.append(checkpoint)
                    count += 1
                if len(batch) == BATCH_SIZE:
                    self._compare(batch)
                    batch.clear()
                    progress("checkpoints", number, 0)
                if self._finding:
                    break
        self._compare(batch)
        if not count and not self._finding:
            self._warnings["there are no checkpoints: a truncated log would go unnoticed"] += 1
        self._report_unreadable()
        if self._unconfirmed and not self._keys and self._confirmed_seq < self._unconfirmed[0]:
            self._finding = self._finding or self._unconfirmed[1]
        if count and not self._finding:
            self._check_uncovered()
        return CheckpointResult(
            finding=self._finding,
            reach=self._reach,
            warnings=tuple(
                text if times == 1 else f"{text} ({times} times)"
                for text, times in self._warnings.items()
            ),
        )

    def _read_line(self, line: bytes, *, number: int, is_complete: bool) -> Checkpoint | None:
        try:
            checkpoint = checkpoints.parse(line)
        except InvalidCheckpoint:
            self._report_unreadable()
            self._unreadable, self._previous = number, checkpoints.digest(line)
            if not is_complete:
                self._warnings["the last line of the checkpoints is cut short"] += 1
                self._unreadable = 0
            return None
        self._check_link(checkpoint, number=number)
        self._check_signature(checkpoint, number=number)
        self._previous = checkpoints.digest(line)
        return None if self._finding else checkpoint

    def _report_unreadable(self) -> None:
        if self._unreadable:
            self._find(None, f"line {self._unreadable} of the checkpoints is not a checkpoint")

    def _check_link(self, checkpoint: Checkpoint, *, number: int) -> None:
        if checkpoint.previous == self._previous:
            if self._unreadable:
                self._warnings["a line of the checkpoints is cut short, as by a crash"] += 1
                self._unreadable = 0
        elif self._is_our_own or self._unreadable:
            before = "the start of the file" if number == 1 else f"line {number - 1}"
            self._find(
                checkpoint.seq,
                f"line {number} of the checkpoints does not follow {before}:"
                " a line was removed, added or changed",
            )
        else:
            self._warnings["this file does not contain every checkpoint that was written"] += 1

    def _check_signature(self, checkpoint: Checkpoint, *, number: int) -> None:
        line = f"line {number} of the checkpoints (event {checkpoint.seq})"
        key = self._keys.get(checkpoint.key_id, "")
        if not self._keys:
            self._warnings[
                "the signatures of the checkpoints were not checked: no key is available; give the"
                " public key with --public-key"
            ] += 1
        elif not checkpoint.signature:
            self._find(checkpoint.seq, f"{line} is not signed")
        elif not key:
            self._find(checkpoint.seq, f"{line} is signed with an unknown key: {checkpoint.key_id}")
        elif not signing.verify(checkpoint.signed_text, checkpoint.signature, key):
            self._find(checkpoint.seq, f"{line} was changed: its signature is invalid")

    def _compare(self, batch: Sequence[Checkpoint]) -> None:
        hashes = _hashes(batch)
        for checkpoint in batch:
            seq, at = checkpoint.seq, checkpoint.at
            if hashes.get(seq) == checkpoint.hash:
                self._reach = max(self._reach, seq)
                if checkpoint.occasion == RESTORED:
                    self._confirmed_seq = max(self._confirmed_seq, seq)
                continue
            problem = (
                "is not the event of the checkpoint: the log was rewritten"
                if seq in hashes
                else "is missing: the end of the log was cut off, or the log was replaced"
            )
            reason = f"event {seq} {problem} (checkpoint of {at})"
            finding = Finding(proof=Proof.CHECKPOINT, seq=seq, reason=reason)
            if restored_seq := self._restores.get(checkpoint.hash):
                if not self._unconfirmed or restored_seq > self._unconfirmed[0]:
                    self._unconfirmed = (restored_seq, finding)
                continue
            # This replaces a finding about a later line, which comes after all lines of the batch.
            self._finding = finding
            return

    def _check_uncovered(self) -> None:
        """Warn about older events after the last checkpoint: the file may have been cut off."""
        older = AuditEvent.objects.filter(at__lt=datetime.now(UTC) - MAX_UNCOVERED_AGE)
        if older.filter(seq__gt=self._reach).exists():
            self._warnings[
                f"events from {self._reach + 1} on have no checkpoint, and some are older than two"
                " minutes: they could have been rewritten unnoticed"
            ] += 1

    def _find(self, seq: int | None, reason: str) -> None:
        if self._finding is None:
            self._finding = Finding(proof=Proof.CHECKPOINT, seq=seq, reason=reason)


class _LossReader(_Reader):
    """Finds the heads that the log lacks, instead of reporting the first one."""

    def __init__(self, *, is_our_own: bool, public_pems: Sequence[str]) -> None:
        super().__init__(is_our_own=is_our_own, public_pems=public_pems)
        self.count = 0
        self.has_signatures = False
        # The newest that the log has, of the lines before the first that it lacks: checkpoints that
        # were written since the restore are in the log as well, but prove nothing about the time
        # before.
        self.proven = Head()
        self.lost: list[Head] = []
        self.replaced: list[str] = []

    def _compare(self, batch: Sequence[Checkpoint]) -> None:
        hashes = _hashes(batch)
        for checkpoint in batch:
            head = Head(seq=checkpoint.seq, hash=checkpoint.hash)
            self.count += 1
            self.has_signatures |= bool(checkpoint.signature)
            if hashes.get(head.seq) == head.hash:
                if not self.lost:
                    self.proven = max(self.proven, head, key=_seq)
            elif head.hash not in self._restores:
                self.lost.append(head)
                if head.seq in hashes:
                    self.replaced.append(head.hash)


def _hashes(batch: Sequence[Checkpoint]) -> dict[int, str]:
    """Return the hashes of the log's events, by the numbers of the checkpoints."""
    return chain_walk.hashes({checkpoint.seq for checkpoint in batch}) | {0: GENESIS}


def _seq(head: Head) -> int:
    return head.seq
