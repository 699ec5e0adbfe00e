"""Says in plain words what a failed verification means; the technical reason follows it.

Only the reason of a finding is stored for the pages, so it is recognised by how it begins. Values
of a damaged row come later in a reason, and cannot make it look like another one.
"""

import re
from typing import Final

from killswitch.audit.verification.findings import Proof

PARTS: Final = re.compile(r"; (?=the |tables |roles |row security |a crash )")
_MEANINGS: Final = (
    (
        Proof.CHAIN,
        r"event \S+( was changed|, verified before, | is not chained to"
        r"| is missing: (the next event is|there is one))|more than one event has the number",
        "Events in the log were changed, removed or replaced",
    ),
    (
        Proof.CHECKPOINT,
        r"event \d+ is (missing: the end of the log was cut off|not the event of the checkpoint)",
        "The log is not the one for which the checkpoints were written: its end was cut off, or it"
        " was rewritten or replaced",
    ),
    (
        Proof.CHECKPOINT,
        r"line \d+ of the checkpoints",
        "The file of checkpoints was changed or damaged, so it no longer proves that the log was"
        " not cut off or rewritten",
    ),
    (
        Proof.GUARDS,
        r"the trigger \S+ (is missing|was changed|does not always fire)"
        r"|the log's table has lost its",
        "A protection of the log has been removed or weakened, so events could have been changed or"
        " removed",
    ),
    (
        Proof.GUARDS,
        r"the (trigger|rule|view) .* is unexpected|the table \S+ has an ON CONFLICT clause"
        r"|the log (is not an ordinary table|has rewrite rules|shares its rows)"
        r"|row security may hide events",
        "The database was altered in a way that can change, hide or discard what is recorded",
    ),
    (
        Proof.GUARDS,
        r"roles other than the owner may change events",
        "Database users that should only read the log can change it",
    ),
    (
        Proof.GUARDS,
        r"a crash would empty the log",
        "The database was altered so that a crash would lose the log",
    ),
    (
        Proof.GUARDS,
        r"tables and indexes of the database disagree",
        "The database is damaged or was altered: pages and exports may leave out events",
    ),
)
MEANINGS: Final = tuple(
    (proof, re.compile(start, re.DOTALL), text) for proof, start, text in _MEANINGS
)
OF_TABLES: Final = (
    "The log and the data that the pages show do not agree: one of them was changed or is damaged"
)


def proof_of(reason: str) -> Proof:
    """Return the proof that failed for this reason."""
    return next((proof for proof, start, _ in MEANINGS if start.match(reason)), Proof.TABLES)


def explain(reason: str) -> str:
    """Return what the reason of a finding means, as sentences; several for several protections."""
    parts = PARTS.split(reason) if proof_of(reason) is Proof.GUARDS else [reason]
    texts = [
        next((text for _, start, text in MEANINGS if start.match(part)), OF_TABLES)
        for part in parts
    ]
    return " ".join(f"{text}." for text in dict.fromkeys(texts))


def with_meaning(reason: str) -> str:
    """Return what a reason means, followed by the reason."""
    return f"{explain(reason)} Technical reason: {reason.removesuffix('.')}."
