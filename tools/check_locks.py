"""Fails when a lock file names a host, or a package in it has no hash."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NAMES = ("requirements.lock", "requirements-dev.lock")
A_HOST = re.compile(r"://|--(extra-)?index-url|--find-links|--trusted-host|\s@\s")
A_PACKAGE = re.compile(r"^[A-Za-z0-9]")


def main() -> None:
    """Check both."""
    wrong = [line for name in NAMES for line in complaints(ROOT / name)]
    if wrong:
        sys.exit("\n".join(wrong))


def complaints(path: Path) -> list[str]:
    """What is wrong with one lock file, with its line number."""
    lines = path.read_text().splitlines()
    found = []
    for number, line in enumerate(lines, start=1):
        if A_HOST.search(line):
            found.append(f"{path.name}:{number}: names a host: {line.strip()}")
        following = lines[number] if number < len(lines) else ""
        if A_PACKAGE.match(line) and "--hash=sha256:" not in following:
            found.append(f"{path.name}:{number}: has no hash: {line.strip()}")
    return found


if __name__ == "__main__":
    main()
