"""Measures the log's pages, its verification and its export with a million events.

    python -m bench.audit --events 1000000 --database sqlite

Loads events into a scratch database and prints a table: each time and each command's peak memory at
10,000 events, at the given number, and their ratio, which is meaningful even on a shared machine.
One line of JSON follows for each figure that has a limit.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.figures import Figure

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from killswitch.audit.models import AuditEvent

SMALL_LOG = 10_000
REPEATS = 7
MAX_REPEATING_MS = 5_000
PAGE_SIZE = 50
BEGIN = datetime(2020, 1, 1, tzinfo=UTC)  # before all events
ROOT = Path(__file__).resolve().parent.parent
Measured = dict[str, float]  # milliseconds, or megabytes of memory
PEAK_OF = "peak memory, MB: "
NOWHERE = "page: free text, nowhere"
NEVER_MEET = "that never meet"


def main() -> None:
    """Load, measure, load more, measure again, print."""
    parser = argparse.ArgumentParser(description="Time the audit log at some size.")
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as home:
        _set_up(Path(home), database=options.database)
        columns = [_measure(size, Path(home)) for size in (SMALL_LOG, options.events)]
    print(f"\n{options.database}: milliseconds at {SMALL_LOG:,} and at {options.events:,} events")
    for name, small in columns[0].items():
        large = columns[1][name]
        print(f"{name:56}{small:12,.1f}{large:12,.1f}{large / small:10,.2f} x")
    for figure in _figures(*columns):
        print(figure.to_line())


def _figures(small: Measured, large: Measured) -> Iterator[Figure]:
    """Yield what has a limit at a million events."""
    for name, command, limit in (
        ("log: complete verification", "verify_audit", 40),
        ("log: export as CSV", "export_audit, CSV", 35),
    ):
        yield Figure(name=name, value=large[command] / 1000, unit="s", limit=limit)
    yield Figure(name="log: free text, nowhere", value=large[NOWHERE], unit="ms", limit=100)
    slowest = max(value for name, value in large.items() if name.endswith(NEVER_MEET))
    yield Figure(name="log: filters that never meet, slowest", value=slowest, unit="ms", limit=20)
    peaks = (
        PEAK_OF + name for name in ("verify_audit", "export_audit, JSON Lines", "export_audit, CSV")
    )
    growth = max(large[name] / small[name] for name in peaks)
    yield Figure(name="log: peak memory, of a small log's", value=growth, unit="x", limit=1.2)


def _set_up(home: Path, *, database: str) -> None:
    """Create and migrate an empty database, before any module of Django is imported."""
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
    else:
        (home / "killswitch.sqlite3").touch()  # which `prepare` alone creates
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)


def _measure(size: int, home: Path) -> Measured:
    from django.db import connection

    from bench import plausible, tables
    from killswitch.audit import chain

    started = time.monotonic()
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:  # this process may have to wait for a processor
            cursor.execute("SET idle_in_transaction_session_timeout = 0")
    before = chain.head().seq
    plausible.load(size)
    tables.load(after=before)
    print(f"{size:,} events after {time.monotonic() - started:.0f} s", flush=True)
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")  # as its own autovacuum would
    return _pages(size) | _programs(home)


def _pages(size: int) -> Measured:
    """Time a page of 50 events for each filter."""
    from killswitch.audit.filters import EventFilter
    from killswitch.audit.models import AuditEvent

    middle = AuditEvent.objects.get(seq=size // 2)
    request = AuditEvent.objects.filter(kind="FINISHED", seq__gt=middle.seq).earliest("seq")
    cases: list[tuple[str, dict[str, Any], AuditEvent | None]] = [
        ("first", {}, None),
        ("deep", {}, middle),
        ("time range", {"to_at": middle.at}, None),
        ("time range, deep", {"from_at": BEGIN}, middle),
        ("exchange", {"exchange": "KRAKEN/JOHN"}, None),
        ("exchange, deep", {"exchange": "KRAKEN/JOHN"}, middle),
        ("person", {"person": "officer3"}, None),
        ("kind", {"kind": "DENIED"}, None),
        ("status", {"status": "RESIDUAL"}, None),
        ("reject reason", {"reject_reason": "OTHER"}, None),
        ("request", {"request_id": request.request_id}, None),
        ("exchange and rare status", {"exchange": "KRAKEN/JOHN", "status": "UNKNOWN"}, None),
        ("time range and kind", {"to_at": middle.at, "kind": "DENIED"}, None),
        ("time range and exchange", {"to_at": middle.at, "exchange": "KRAKEN/JOHN"}, None),
        ("exchange and type that never meet", {"exchange": "KRAKEN", "kind": "SIGNED_IN"}, None),
        ("user and type that never meet", {"person": "officer3", "kind": "ATTEMPT"}, None),
        ("type and status that never meet", {"kind": "FINISHED", "status": "SENDING"}, None),
        ("type and reason that never meet", {"kind": "SIGNED_IN", "reject_reason": "OTHER"}, None),
        ("free text, common", {"text": "Venue incident"}, None),
        ("free text, nowhere", {"text": "no such words"}, None),
    ]
    times = {}
    for name, values, before in cases:
        search = EventFilter(**values).search
        times[f"page: {name}"] = _median(search.page(before, part=search.part(before)))
    return times


def _programs(home: Path) -> Measured:
    """Time each command in a process of its own, and take its peak memory."""
    jsonl, table = home / "export.jsonl", home / "export.csv"
    manage = [sys.executable, str(ROOT / "manage.py")]
    verifier = [sys.executable, str(ROOT / "tools" / "verify_export.py")]
    commands = {
        "command: version (start-up alone)": ([*manage, "version"], home / "version"),
        "verify_audit --without-tables": (
            [*manage, "verify_audit", "--without-tables"],
            home / "verdict",
        ),
        "verify_audit": ([*manage, "verify_audit"], home / "verdict"),
        "export_audit, JSON Lines": ([*manage, "export_audit"], jsonl),
        "export_audit, CSV": ([*manage, "export_audit", "--format", "csv"], table),
        "export_audit --exchange KRAKEN": (
            [*manage, "export_audit", "--exchange", "KRAKEN"],
            home / "part",
        ),
        "export_audit --kind DENIED": (
            [*manage, "export_audit", "--kind", "DENIED"],
            home / "part",
        ),
        "verify_export.py, JSON Lines": ([*verifier, str(jsonl)], home / "verdict"),
        "verify_export.py, CSV": ([*verifier, str(table)], home / "verdict"),
    }
    measured: Measured = {}
    for name, (command, output) in commands.items():
        measured[name], measured[PEAK_OF + name] = _process(command, output)
    return measured


def _median(events: "QuerySet[AuditEvent]") -> float:
    times: list[float] = []
    while len(times) < REPEATS and sum(times) < MAX_REPEATING_MS:
        started = time.perf_counter()
        list(events.all()[: PAGE_SIZE + 1])
        times.append((time.perf_counter() - started) * 1000)
    return statistics.median(times)


def _process(command: Sequence[str], output: Path) -> tuple[float, float]:
    """Return the duration of a command in milliseconds and its peak memory in megabytes."""
    started = time.perf_counter()
    peak_mb = 0
    with (
        output.open("wb") as file,
        subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=subprocess.DEVNULL) as process,
    ):
        while process.poll() is None:
            peak_mb = max(peak_mb, _peak_mb(process.pid))
            time.sleep(0.02)
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}")
    duration_ms = (time.perf_counter() - started) * 1000
    print(f"  {' '.join(command)[-60:]:62}{duration_ms:12,.0f} ms {peak_mb:6} MB", flush=True)
    return duration_ms, peak_mb


def _peak_mb(pid: int) -> int:
    """Return the peak memory of this process alone; `wait` would include that of its parent."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    lines = (line.split() for line in status.splitlines())
    return next((int(words[1]) // 1024 for words in lines if words[0] == "VmHWM:"), 0)


if __name__ == "__main__":
    main()
