"""Measure everything that has a limit, on both databases, and print one table.

    python -m bench --events 1000000

Each part runs in a process of its own, one after the other: on a machine that does nothing else.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.figures import Figure, print_table
from bench.running_system import DATABASES

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("kill", "burst", "flood", "pages", "idle", "audit", "beside")
ON_POSTGRESQL_ONLY = ("burst", "idle")


def main() -> None:
    """Run the parts, and print the table of their figures."""
    parser = argparse.ArgumentParser(description="Measure everything that has a limit.")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--databases", nargs="+", choices=DATABASES, default=DATABASES)
    parser.add_argument("--events", default="1000000", help="the size of the audit log")
    options = parser.parse_args()
    figures: dict[str, list[Figure]] = {}
    for database in options.databases:
        figures[database] = []
        for part in options.parts:
            if part not in ON_POSTGRESQL_ONLY:
                more = ["--events", options.events] if part in ("audit", "beside") else []
                figures[database] += _run(part, "--database", database, *more)
            elif database == "postgresql":  # SQLite has no sessions and does not count
                figures[database] += _run(part)
    print_table(figures)


def _run(part: str, *arguments: str) -> Sequence[Figure]:
    print(f"measuring: {part} {' '.join(arguments)}", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", f"bench.{part}", *arguments]
    output = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
    return [Figure.from_line(line) for line in output.splitlines() if line.startswith('{"name"')]


if __name__ == "__main__":
    main()
