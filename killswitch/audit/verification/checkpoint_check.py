"""Compares kept checkpoints with the chain: is each head still there, and did we sign it?"""

from codecs import BOM_UTF8
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from killswitch.audit import checkpoints, signing
from killswitch.audit.chain import GENESIS
from killswitch.audit.checkpoints import MAX_LINE_BYTES, Checkpoint, InvalidCheckpoint
from killswitch.audit.models import AuditEvent
from killswitch.audit.verification import chain_walk
from killswitch.audit.verification.findings import Finding, Progress, Proof, VerificationImpossible

BATCH_SIZE = 500  # heads looked up in one query
FRESH = timedelta(minutes=2)  # so old may an event be that no head covers yet


@dataclass(frozen=True, kw_only=True)
class CheckpointResult:
    """What the kept checkpoints say."""

    finding: Finding | None = None
    reach: int = 0  # the newest event that one of them covers
    warnings: tuple[str, ...] = ()


def check(file: Path | None, *, public_pems: Sequence[str], progress: Progress) -> CheckpointResult:
    """Check a file that somebody kept, or our own one. Raises `CouldNotCheck`."""
    path = file or checkpoints.default_path()
    if file is None and not path.exists():
        return CheckpointResult(
            warnings=(f"there is no {path.name}: a cut tail would not be noticed",)
        )
    try:
        return _Reader(is_our_own=file is None, public_pems=public_pems).read(path, progress)
    except OSError as error:
        raise VerificationImpossible(f"{path} cannot be read ({error.strerror})") from None


class _Reader:
    """Reads a file of checkpoints once, line by line, up to the first that is wrong."""

    def __init__(self, *, is_our_own: bool, public_pems: Sequence[str]) -> None:
        self._is_our_own = is_our_own
        pems = (signing.public_key_pem_if_made(), *public_pems)
        self._keys = {signing.key_id(pem): pem for pem in pems if pem}
        self._finding: Finding | None = None
        self._warnings: dict[str, int] = {}
        self._reach = 0
        self._previous = GENESIS
        self._damaged = 0  # the number of a line that could not be read, until the next one

    def read(self, path: Path, progress: Progress) -> CheckpointResult:
        heads: list[Checkpoint] = []
        done = read = 0
        for number, text, is_whole in _lines(path):
            # What somebody kept may have come by mail, or through an editor.
            line = text if self._is_our_own else text.removeprefix(BOM_UTF8).strip()
            if not line and not self._is_our_own:
                continue
            if made := self._read(line, number=number, is_whole=is_whole):
                heads.append(made)
                read += 1
            done = number
            if len(heads) == BATCH_SIZE:
                self._compare(heads)
                heads.clear()
                progress("checkpoints", done, 0)
            if self._finding:
                break
        self._compare(heads)
        if not read and not self._finding:
            self._warn("there are no checkpoints: a cut tail would not be noticed")
        self._end()
        if read and not self._finding:
            self._look_beyond()
        return CheckpointResult(finding=self._finding, reach=self._reach, warnings=self._told())

    def _read(self, line: bytes, *, number: int, is_whole: bool) -> Checkpoint | None:
        try:
            made = checkpoints.parse(line)
        except InvalidCheckpoint:
            self._damage(number, is_whole=is_whole, name=checkpoints.digest(line))
            return None
        self._link(made, number=number)
        self._check_signature(made, number=number)
        self._previous = checkpoints.digest(line)
        return None if self._finding else made

    def _damage(self, number: int, *, is_whole: bool, name: str) -> None:
        """Half a line, left by a crash, is borne out by the line after it, or is the last one."""
        if self._damaged:
            self._find(None, f"line {self._damaged} of the checkpoints is none")
        self._damaged, self._previous = number, name
        if not is_whole:
            self._warn("the last line of the checkpoints is cut short")
            self._damaged = 0

    def _end(self) -> None:
        if self._damaged:
            self._find(None, f"line {self._damaged} of the checkpoints is none")

    def _link(self, made: Checkpoint, *, number: int) -> None:
        if made.previous == self._previous:
            if self._damaged:
                self._warn("a line of the checkpoints is cut short, as by a crash")
                self._damaged = 0
            return
        if self._is_our_own or self._damaged:
            where = "the file's first line" if number == 1 else f"line {number - 1}"
            self._find(
                made.seq,
                f"line {number} of the checkpoints does not follow {where}:"
                " a line was removed, added or changed",
            )
            return
        self._warn("this file does not hold every checkpoint that was written")

    def _check_signature(self, made: Checkpoint, *, number: int) -> None:
        where = f"line {number} of the checkpoints (event {made.seq})"
        if not self._keys:
            self._warn(
                "the signatures of checkpoints were not checked: no key is known here; give the"
                " public one with --public-key"
            )
        elif not made.signature:
            self._find(made.seq, f"{where} is not signed")
        elif made.key_id not in self._keys:
            self._find(made.seq, f"{where} is signed with a key that is not known: {made.key_id}")
        elif not signing.verify(made.signed_text, made.signature, self._keys[made.key_id]):
            self._find(made.seq, f"{where} was changed: its signature does not fit")

    def _compare(self, heads: Sequence[Checkpoint]) -> None:
        numbers = {made.seq for made in heads}
        found = chain_walk.hashes(numbers) | {0: GENESIS}
        wrong = next((made for made in heads if found.get(made.seq) != made.hash), None)
        if wrong is None:
            self._reach = max([self._reach, *numbers])
            return
        if wrong.seq in found:
            what = "is not the one that it was: the log was written anew"
        else:
            what = "is missing: the tail of the log was cut, or the log was replaced"
        reason = f"event {wrong.seq} {what} (checkpoint of {wrong.at})"
        # These lines stand before the one that any other finding is about.
        self._finding = Finding(proof=Proof.CHECKPOINT, seq=wrong.seq, reason=reason)

    def _look_beyond(self) -> None:
        """A file cut to its first lines says nothing of what was written anew after them."""
        old = AuditEvent.objects.filter(at__lt=datetime.now(UTC) - FRESH)
        if old.filter(seq__gt=self._reach).exists():
            self._warn(
                f"no kept head covers event {self._reach + 1} and those after it, and not all of"
                " them are new: they could have been written anew"
            )

    def _find(self, seq: int | None, reason: str) -> None:
        if self._finding is None:
            self._finding = Finding(proof=Proof.CHECKPOINT, seq=seq, reason=reason)

    def _warn(self, words: str) -> None:
        self._warnings[words] = self._warnings.get(words, 0) + 1

    def _told(self) -> tuple[str, ...]:
        return tuple(
            words if times == 1 else f"{words} ({times} times)"
            for words, times in self._warnings.items()
        )


def _lines(path: Path) -> Iterator[tuple[int, bytes, bool]]:
    """Number, text and whether it ended with a line break; a line without end is cut in pieces."""
    with path.open("rb") as file:
        number = 0
        while line := file.readline(MAX_LINE_BYTES):
            number += 1
            # Half a line is shorter; what is as long as this is none of ours.
            is_whole = line.endswith(b"\n") or len(line) == MAX_LINE_BYTES
            yield number, line.removesuffix(b"\n"), is_whole
