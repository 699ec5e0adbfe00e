"""Rehearses break glass on this host: everything but the POST. Reads no database."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from django.conf import settings

from killswitch.audit import canonical_json
from killswitch.break_glass import exchange_snapshot
from killswitch.break_glass.exchange_snapshot import NoSnapshot
from killswitch.break_glass.journal import Journal, JournalUnavailable, TimedJournal
from killswitch.ems.client import get_client
from killswitch.runtime.files import replace_file
from killswitch.runtime.text import duration_text

FILE = "break_glass_rehearsal.json"
MAX_SNAPSHOT_AGE_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Step:
    """One thing that a cancel by break glass depends on."""

    name: str
    ok: bool
    detail: str


@dataclass(frozen=True, kw_only=True)
class LastRehearsal:
    """When this host rehearsed last, when that last succeeded, and what failed if it did not."""

    at: datetime
    succeeded_at: datetime | None
    failures: Sequence[str]


def rehearse() -> list[Step]:
    """Do everything but the POST, keep the result on this host, and return the steps."""
    home = settings.KILLSWITCH_HOME
    steps = [_key(), _ems(), _journal(home), _snapshot(home)]
    failures = [f"{step.name}: {step.detail}" for step in steps if not step.ok]
    now = canonical_json.utc_text(datetime.now(UTC))
    last = read(home)
    earlier = canonical_json.utc_text(last.succeeded_at) if last and last.succeeded_at else None
    content = {"at": now, "succeeded_at": earlier if failures else now, "failures": failures}
    try:
        replace_file(home / FILE, canonical_json.encode(content).encode() + b"\n")
    except OSError as error:
        reason = error.strerror or str(error)
        steps.append(Step(name="Result", ok=False, detail=f"cannot be kept ({reason})"))
    return steps


def read(home: Path) -> LastRehearsal | None:
    """Return the last rehearsal of this host, None if there was none or it cannot be read."""
    try:
        content = json.loads((home / FILE).read_bytes())
        succeeded_at = content["succeeded_at"]
        return LastRehearsal(
            at=datetime.fromisoformat(content["at"]),
            succeeded_at=datetime.fromisoformat(succeeded_at) if succeeded_at else None,
            failures=[str(failure) for failure in content["failures"]],
        )
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _key() -> Step:
    if settings.EMS_API_KEY:
        detail = "EMS_API_KEY is set"
    elif settings.EMS_CLIENT_CERT:
        detail = "EMS_CLIENT_CERT is set"
    else:
        detail = "neither EMS_API_KEY nor EMS_CLIENT_CERT is set, as for an EMS that needs neither"
    return Step(name="Key", ok=True, detail=detail)


def _ems() -> Step:
    """Read the open orders, which shows that the EMS is reachable and takes our key."""
    orders = get_client().open_orders()
    if orders.readable:
        detail = f"the list of open orders was read in {duration_text(orders.duration_ms)}"
    else:
        detail = f"the list of open orders cannot be read ({orders.error})"
    return Step(name="EMS", ok=orders.readable, detail=detail)


def _journal(home: Path) -> Step:
    try:
        TimedJournal(Journal(home)).rehearse()
    except JournalUnavailable as error:
        return Step(name="Journal", ok=False, detail=f"cannot be written ({error})")
    return Step(name="Journal", ok=True, detail="can be written")


def _snapshot(home: Path) -> Step:
    try:
        snapshot = exchange_snapshot.read(home)
    except NoSnapshot as error:
        return Step(name="Exchanges", ok=False, detail=f"not known on this host: {error}")
    age = duration_text(snapshot.age_s * 1000)
    count = sum(row.enabled for row in snapshot.exchanges)
    return Step(
        name="Exchanges",
        ok=count > 0 and snapshot.age_s <= MAX_SNAPSHOT_AGE_S,
        detail=f"{count} enabled, last known {age} ago",
    )
