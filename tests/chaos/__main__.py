"""Run the chaos and print a table of what was injected, and what was lost.

    python -m tests.chaos --seconds 240 --seed 7

The exit code is 0 if nothing was lost, doubled, left in flight or untrue, and the log verifies.
"""

import argparse
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

SETTLE_S = 120.0


def main() -> None:
    """Set up Django, run, print, and exit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=_Formatter)
    parser.add_argument("--seconds", type=float, default=240.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--exchanges", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="chaos-") as directory:
        home = Path(directory)
        os.environ |= {
            "KILLSWITCH_HOME": directory,
            "DJANGO_SETTINGS_MODULE": "killswitch.settings",
        }
        import django

        django.setup()
        sys.exit(_run(home, options))


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Keeps the lines of the description."""


def _run(home: Path, options: argparse.Namespace) -> int:
    from tests.chaos.acts import ACTS, name_of
    from tests.chaos.hosts import installation
    from tests.chaos.presses import Presser
    from tests.chaos.verdict import FINAL, faults, requests_of

    dice = random.Random(options.seed)
    acts: Counter[str] = Counter()
    with installation(home, exchanges=options.exchanges) as system:
        presser = Presser(system, random.Random(options.seed))
        presser.start()
        ends_at = time.monotonic() + options.seconds
        while time.monotonic() < ends_at:
            act = dice.choice(ACTS)
            acts[name_of(act)] += 1
            act(system, dice)
            time.sleep(dice.uniform(0.2, 2.0))
        presser.stop()
        settles_until = time.monotonic() + SETTLE_S
        requests = requests_of(system)
        while time.monotonic() < settles_until:
            requests = requests_of(system)
            if all(request.status in FINAL for request in requests):
                break
            time.sleep(1)
        found = faults(system, presser.presses, requests)
        verification = system.hosts[0].manage("verify_audit")
    tables = {
        "injected": acts,
        "answers to presses": Counter(press.answer for press in presser.presses),
        "requests by status": Counter(request.status for request in requests),
        "faults": Counter({name: len(cases) for name, cases in found.items()}),
    }
    print(f"{options.seconds:g} seconds, seed {options.seed}\n")
    print("\n".join(line for title, table in tables.items() for line in _lines(title, table)))
    print(verification.stdout.strip())
    for name, cases in found.items():
        if cases:
            print(f"{name}: {cases[:5]}")
    return int(any(found.values()) or verification.returncode != 0)


def _lines(title: str, table: Mapping[str, int]) -> Iterator[str]:
    yield f"| {title} | {sum(table.values())} |\n|---|---|"
    for name, number in sorted(table.items(), key=lambda item: -item[1]):
        yield f"| {name} | {number} |"
    yield ""


if __name__ == "__main__":
    main()
