"""How long the log's pages, its verification and its export take with a million events.

    python -m bench.audit --events 1000000 --database sqlite

Loads events into a scratch database of its own and prints a table: each thing's time at 10,000
events, at as many as asked for, and the ratio, which is what can be trusted on a shared machine.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from killswitch.audit.models import AuditEvent

SMALL = 10_000  # events to compare with
REPEATS = 7
LONG = 5_000  # milliseconds after which it is not repeated
PAGE = 50  # events
BEGIN = datetime(2020, 1, 1, tzinfo=UTC)  # before all events
ROOT = Path(__file__).resolve().parent.parent
Times = dict[str, float]  # milliseconds


def main() -> None:
    """Load, measure, load more, measure again, print."""
    parser = argparse.ArgumentParser(description="Time the audit log at some size.")
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as home:
        _set_up(Path(home), database=asked.database)
        columns = [_measured(size, Path(home)) for size in (SMALL, asked.events)]
    print(f"\n{asked.database}: milliseconds at {SMALL:,} and at {asked.events:,} events")
    for name, small in columns[0].items():
        large = columns[1][name]
        print(f"{name:44}{small:12,.1f}{large:12,.1f}{large / small:10,.2f} x")


def _set_up(home: Path, *, database: str) -> None:
    """An empty, migrated database; must come before anything of Django is imported."""
    for name in ("DATABASE_URL", "AUDIT_SIGNING_KEY"):
        os.environ.pop(name, None)
    os.environ |= {
        "KILLSWITCH_HOME": str(home),
        "EMS_BASE_URL": "http://127.0.0.1:9",
        "SECRET_KEY": "only-for-measuring",
        "DJANGO_SETTINGS_MODULE": "killswitch.settings",
    }
    if database == "postgresql":
        from tests.postgresql import start

        os.environ["DATABASE_URL"] = start(home)
        os.environ["AUDIT_SIGNING_KEY"] = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)


def _measured(size: int, home: Path) -> Times:
    from django.db import connection

    from bench import plausible, tables
    from killswitch.audit import chain

    started = time.monotonic()
    before = chain.head().seq
    plausible.load(size)
    tables.load(after=before)
    print(f"{size:,} events after {time.monotonic() - started:.0f} s", flush=True)
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")  # as its own autovacuum would
    return _pages(size) | _programs(home)


def _pages(size: int) -> Times:
    """What a page of the log costs, 50 events, by what it selects."""
    from killswitch.audit.filters import Cursor, EventFilter
    from killswitch.audit.models import AuditEvent

    middle = AuditEvent.objects.get(seq=size // 2)
    request = AuditEvent.objects.filter(kind="FINISHED", seq__gt=middle.seq).earliest("seq")
    deep = Cursor(seq=middle.seq, at=middle.at)
    cases: list[tuple[str, dict[str, Any], Cursor | None]] = [
        ("first", {}, None),
        ("deep", {}, deep),
        ("time range", {"to_at": middle.at}, None),
        ("time range, deep", {"from_at": BEGIN}, deep),
        ("exchange", {"exchange_id": "KRAKEN"}, None),
        ("exchange, deep", {"exchange_id": "KRAKEN"}, deep),
        ("person", {"actor": "Officer 3 (officer3)"}, None),
        ("kind", {"kind": "DENIED"}, None),
        ("status", {"status": "RESIDUAL"}, None),
        ("reject reason", {"reject_reason": "OTHER"}, None),
        ("request", {"request_id": request.request_id}, None),
        ("exchange and rare status", {"exchange_id": "KRAKEN", "status": "UNKNOWN"}, None),
        ("time range and kind", {"to_at": middle.at, "kind": "DENIED"}, None),
        ("time range and exchange", {"to_at": middle.at, "exchange_id": "KRAKEN"}, None),
        ("two that never meet", {"exchange_id": "KRAKEN", "kind": "SIGNED_IN"}, None),
        ("free text, common", {"text": "Venue incident"}, None),
        ("free text, nowhere", {"text": "no such words"}, None),
    ]
    events = AuditEvent.objects.all()
    return {
        f"page: {name}": _median(EventFilter(**selected).newest_first(events, before=before))
        for name, selected, before in cases
    }


def _programs(home: Path) -> Times:
    """The commands, each as a process of its own, with the most memory that it took."""
    jsonl, table = home / "export.jsonl", home / "export.csv"
    manage = [sys.executable, str(ROOT / "manage.py")]
    verifier = [sys.executable, str(ROOT / "tools" / "verify_export.py")]
    return {
        "command: nothing (start-up alone)": _process([*manage, "version"], home / "nothing"),
        "verify_audit --without-tables": _process(
            [*manage, "verify_audit", "--without-tables"], home / "verdict"
        ),
        "verify_audit": _process([*manage, "verify_audit"], home / "verdict"),
        "export_audit, JSON Lines": _process([*manage, "export_audit"], jsonl),
        "export_audit, CSV": _process([*manage, "export_audit", "--format", "csv"], table),
        "export_audit --exchange KRAKEN": _process(
            [*manage, "export_audit", "--exchange", "KRAKEN"], home / "part"
        ),
        "export_audit --kind DENIED": _process(
            [*manage, "export_audit", "--kind", "DENIED"], home / "part"
        ),
        "verify_export.py, JSON Lines": _process([*verifier, str(jsonl)], home / "verdict"),
        "verify_export.py, CSV": _process([*verifier, str(table)], home / "verdict"),
    }


def _median(events: "QuerySet[AuditEvent]") -> float:
    times: list[float] = []
    while len(times) < REPEATS and sum(times) < LONG:
        started = time.perf_counter()
        list(events.all()[: PAGE + 1])
        times.append((time.perf_counter() - started) * 1000)
    return statistics.median(times)


def _process(command: Sequence[str], output: Path) -> float:
    """Run it to its end; also prints the most memory that it held."""
    started = time.perf_counter()
    most = 0
    with (
        output.open("wb") as file,
        subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=subprocess.DEVNULL) as process,
    ):
        while process.poll() is None:
            most = max(most, _held(process.pid))
            time.sleep(0.02)
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}")
    took = (time.perf_counter() - started) * 1000
    print(f"  {' '.join(command)[-60:]:62}{took:12,.0f} ms {most:6} MB", flush=True)
    return took


def _held(pid: int) -> int:
    """Its own peak in MB; what `wait` tells would hold the memory of whoever started it."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    lines = (line.split() for line in status.splitlines())
    return next((int(words[1]) // 1024 for words in lines if words[0] == "VmHWM:"), 0)


if __name__ == "__main__":
    main()
