"""Count what an idle system asks of PostgreSQL: transactions, new sessions, waits for the disk.

    python -m bench.idle --seconds 60

One of each process, and nobody signed in. SQLite keeps no such counts.
"""

import argparse
import time

from bench.figures import Figure
from bench.running_system import RunningSystem, running_system

EXCHANGES = [f"VENUE{number:02}" for number in range(6)]
SETTLE_S = 15  # the first checks of a start are over
COUNTERS = """
    SELECT xact_commit + xact_rollback, sessions, (SELECT wal_sync FROM {source})
    FROM pg_stat_database WHERE datname = current_database()
"""
WAL_SYNC = "(SELECT sum(fsyncs) AS wal_sync FROM pg_stat_io WHERE object = 'wal') AS io"
# A tenth of what version 0.1 did.
LIMITS = {"transactions": 166.0, "new sessions": 37.0, "WAL syncs": 39.0}


def main() -> None:
    """Count for some time, and print one line of JSON for each figure."""
    parser = argparse.ArgumentParser(description="Count what an idle system asks of PostgreSQL.")
    parser.add_argument("--seconds", type=float, default=60)
    options = parser.parse_args()
    with running_system("postgresql", exchanges=EXCHANGES) as running:
        time.sleep(SETTLE_S)
        before, started_at = _counters(running), time.monotonic()
        time.sleep(options.seconds)
        after, minutes = _counters(running), (time.monotonic() - started_at) / 60
    for (name, limit), first, last in zip(LIMITS.items(), before, after, strict=True):
        value = (last - first) / minutes
        print(Figure(name=f"idle: {name} a minute", value=value, unit="", limit=limit).to_line())


def _counters(running: RunningSystem) -> tuple[int, ...]:
    (row,) = running.select(COUNTERS.format(source=WAL_SYNC))
    return tuple(int(value or 0) for value in row)


if __name__ == "__main__":
    main()
