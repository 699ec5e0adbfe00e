"""The chain of events: numbered without gaps, each hashed together with the one before it."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from killswitch.audit import canonical_json
from killswitch.audit.actors import SYSTEM, Actor
from killswitch.audit.models import AuditEvent, EventKind
from killswitch.runtime.compiled_query import CompiledQuery

FORMAT = 1
GENESIS = "0" * 64
HASHED = (
    "seq",
    "at",
    "format",
    "software",
    "kind",
    "actor",
    "role",
    "exchange_id",
    "request_id",
    "status",
    "reject_reason",
    "data",
    "previous",
)

_newest = CompiledQuery(lambda: AuditEvent.objects.order_by("-seq").values_list("seq", "hash")[:1])


@dataclass(frozen=True, kw_only=True)
class Head:
    """The newest event; its hash covers all events before it. Number 0 is an empty log."""

    seq: int = 0
    hash: str = GENESIS


@dataclass(frozen=True, kw_only=True)
class NewEvent:
    """An event that is not in the log yet: it has no number, time or hash."""

    kind: EventKind
    actor: Actor = SYSTEM
    exchange_id: str = ""
    request_id: str = ""
    status: str = ""
    reject_reason: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)


def head() -> Head:
    """Return the newest event. Another one may follow at once, except under the chain's lock."""
    newest = _newest.first()
    return Head(seq=newest[0], hash=newest[1]) if newest else Head()


def digest(event: AuditEvent) -> str:
    """Return the SHA-256 over the canonical JSON of all columns except the hash itself."""
    columns = {name: getattr(event, name) for name in HASHED}
    return digest_of(columns | {"at": canonical_json.utc_text(event.at)})


def digest_of(columns: Mapping[str, Any]) -> str:
    """Return the digest of columns by name, with `at` as text.

    Raises `canonical_json.NotCanonical`.
    """
    return hashlib.sha256(canonical_json.encode(columns).encode()).hexdigest()
