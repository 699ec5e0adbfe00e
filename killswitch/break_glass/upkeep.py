"""Keeps this host ready for break glass, and takes its journal into the log afterwards.

The web, the workers, watchdogs and observers all do this: each sees the registry, and any of them
may be the only one on its host.
"""

import math
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import structlog
from django.conf import settings

from killswitch.audit.canonical_json import utc_text
from killswitch.break_glass import exchange_snapshot, press_registry, recovery, rehearsal
from killswitch.break_glass.exchange_snapshot import KnownExchange, Snapshot
from killswitch.break_glass.journal import Journal
from killswitch.break_glass.rehearsal import LastRehearsal
from killswitch.break_glass.telephone import html_copy
from killswitch.exchanges.models import Exchange, ExchangeGroup
from killswitch.runtime.files import open_locked
from killswitch.runtime.periodic import PeriodicTask

RECOVERY_INTERVAL_S = 1.0
SNAPSHOT_INTERVAL_S = 5.0
REHEARSAL_INTERVAL_S, REHEARSAL_CHECK_INTERVAL_S = 3600.0, 5.0
RETRY_INTERVAL_S = 30.0  # after a rehearsal or a recovery that failed
REHEARSAL_LOCK = "break_glass_rehearsal.lock"

log = structlog.get_logger(__name__)


class Upkeep:
    """The work of one process. The database is read for it, and written after break glass."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._journal = Journal(home)
        self._recovered_size = 0
        self._retry_at = math.inf

    def keep_files(self) -> None:
        """Write what the registry contains, unless a process of this host has just done so."""
        if exchange_snapshot.file_age_s(self._home) < SNAPSHOT_INTERVAL_S - 1:
            return
        exchange_snapshot.write(self._home, registry_snapshot())
        self.keep_telephone_cards()

    def keep_telephone_cards(self) -> None:
        """Write the telephone cards, if they have changed."""
        html_copy.keep(self._home)

    def recover(self) -> None:
        """Take new lines of the journal into the log; without any, no query is made."""
        try:
            size = self._journal.path.stat().st_size
        except FileNotFoundError:
            return
        if size == self._recovered_size and time.monotonic() < self._retry_at:
            return
        outcome = recovery.recover(self._journal)
        press_registry.PROCESS.pending = outcome.pending
        if outcome.pending == 0:
            self._recovered_size = size
            # Two processes may have been in each other's way; a defect is not tried every second.
            self._retry_at = time.monotonic() + RETRY_INTERVAL_S if outcome.failed else math.inf

    def rehearse_if_due(self) -> None:
        """Rehearse unless a process of this host did so within the hour, or failed just now."""
        with suppress(TimeoutError), open_locked(self._home / REHEARSAL_LOCK, timeout_s=0):
            if _is_due(rehearsal.read(self._home)):
                rehearsal.rehearse()


def _is_due(last: LastRehearsal | None) -> bool:
    if last is None:
        return True
    interval_s = RETRY_INTERVAL_S if last.failures else REHEARSAL_INTERVAL_S
    if last.succeeded_at is None:
        # What a host that has just started lacks is there a moment later.
        interval_s = REHEARSAL_CHECK_INTERVAL_S - 1
    return abs((datetime.now(UTC) - last.at).total_seconds()) >= interval_s


def start_threads(stop: threading.Event) -> None:
    """Do all of it in threads until `stop` is set."""
    upkeep = Upkeep(settings.KILLSWITCH_HOME)
    for name, work, interval_s in (
        ("break_glass_recovery", upkeep.recover, RECOVERY_INTERVAL_S),
        ("break_glass_files", upkeep.keep_files, SNAPSHOT_INTERVAL_S),
        ("break_glass_rehearsal", upkeep.rehearse_if_due, REHEARSAL_CHECK_INTERVAL_S),
    ):
        PeriodicTask(name=name, work=work, interval_s=interval_s).start_thread(stop)


def registry_snapshot() -> Snapshot:
    """Return the exchanges and groups of the registry, in two queries."""
    exchanges = Exchange.objects.all()
    members: dict[str, list[int]] = {}
    pairs = ExchangeGroup.exchanges.through.objects.order_by("exchangegroup_id", "exchange_id")
    for group_id, exchange_id in pairs.values_list("exchangegroup_id", "exchange_id"):
        members.setdefault(str(group_id), []).append(exchange_id)
    return Snapshot(
        exchanges=tuple(
            KnownExchange(
                id=exchange.pk,
                exchange_id=exchange.exchange_id,
                name=exchange.name,
                enabled=exchange.enabled,
                caveat=exchange.caveat,
                ever_listed=not exchange.is_never_listed,
                open_orders=exchange.open_orders,
                seen_at=utc_text(exchange.seen_at) if exchange.seen_at else None,
            )
            for exchange in exchanges
        ),
        groups=members,
    )
