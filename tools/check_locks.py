"""Fails when a lock file names a host, has a package without a hash, or does not serve each Python.

pip-compile follows what the packages ask for under the one Python that it runs with, and pip
refuses to install what another Python asks for beside that.
"""

import re
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path

from packaging.markers import Marker, default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
NAMES = ("requirements.lock", "requirements-dev.lock")
A_HOST = re.compile(r"://|--(extra-)?index-url|--find-links|--trusted-host|\s@\s")
A_PACKAGE = re.compile(r"^[A-Za-z0-9]")
# The first and a late one of each version that tools/install.py allows.
PYTHONS = ("3.11.0", "3.11.14", "3.12.0", "3.12.12", "3.13.0", "3.13.9")
SYSTEMS = (("linux", "Linux"), ("darwin", "Darwin"))


def main() -> None:
    """Check both."""
    wrong = [line for name in NAMES for line in complaints(ROOT / name)]
    if wrong:
        sys.exit("\n".join(wrong))


def complaints(path: Path) -> list[str]:
    """What is wrong with one lock file."""
    lines = path.read_text().splitlines()
    return [*_of_the_lines(path.name, lines), *_missing(path.name, _packages(lines))]


def _of_the_lines(name: str, lines: list[str]) -> Iterator[str]:
    for number, line in enumerate(lines, start=1):
        if A_HOST.search(line):
            yield f"{name}:{number}: names a host: {line.strip()}"
        following = lines[number] if number < len(lines) else ""
        if A_PACKAGE.match(line) and "--hash=sha256:" not in following:
            yield f"{name}:{number}: has no hash: {line.strip()}"


def _packages(lines: list[str]) -> set[str]:
    return {canonicalize_name(re.split("[=;[ ]", one)[0]) for one in lines if A_PACKAGE.match(one)}


def _missing(name: str, locked: set[str]) -> Iterator[str]:
    """By what the packages that are installed here say of themselves."""
    for package in sorted(locked):
        for asked in map(Requirement, metadata.requires(package) or ()):
            pythons = _pythons(asked.marker)
            if pythons and canonicalize_name(asked.name) not in locked:
                yield f"{name}: {package} asks for {asked.name} under Python {', '.join(pythons)}"


def _pythons(marker: Marker | None) -> list[str]:
    """Those under which it holds, on any system, without extras: pip-compile knows those."""
    return [
        python
        for python in PYTHONS
        if marker is None or any(marker.evaluate(_environment(python, *one)) for one in SYSTEMS)
    ]


def _environment(python: str, platform: str, system: str) -> Mapping[str, str]:
    return {
        **default_environment(),  # type: ignore[dict-item]
        "python_full_version": python,
        "python_version": python.rpartition(".")[0],
        "sys_platform": platform,
        "platform_system": system,
        "extra": "",
    }


if __name__ == "__main__":
    main()
