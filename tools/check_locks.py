"""Fails when a lock file names a host, lacks a hash, or lacks a package for some Python version.

pip-compile resolves the requirements for the Python it runs with. Another version may have further
requirements, which pip then refuses to install because they have no hash.
"""

import re
import sys
from collections.abc import Iterator, Mapping, Set
from importlib import metadata
from pathlib import Path

from packaging.markers import Marker, default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
NAMES = ("requirements.lock", "requirements-dev.lock")
HOST = re.compile(r"://|--(extra-)?index-url|--find-links|--trusted-host|\s@\s")
PACKAGE = re.compile(r"^[A-Za-z0-9]")
# An early and a late release of each version that tools/install.py allows.
PYTHONS = ("3.11.0", "3.11.14", "3.12.0", "3.12.12", "3.13.0", "3.13.9")
SYSTEMS = (("linux", "Linux"), ("darwin", "Darwin"))


def main() -> None:
    """Check both lock files."""
    if messages := [message for name in NAMES for message in problems(ROOT / name)]:
        sys.exit("\n".join(messages))


def problems(path: Path) -> list[str]:
    """Return a line for each problem of one lock file."""
    lines = path.read_text().splitlines()
    packages = {
        canonicalize_name(re.split("[=;[ ]", line)[0]) for line in lines if PACKAGE.match(line)
    }
    return [*_line_problems(path.name, lines), *_missing_packages(path.name, packages)]


def _line_problems(name: str, lines: list[str]) -> Iterator[str]:
    for number, line in enumerate(lines, start=1):
        if HOST.search(line):
            yield f"{name}:{number}: names a host: {line.strip()}"
        following = lines[number] if number < len(lines) else ""
        if PACKAGE.match(line) and "--hash=sha256:" not in following:
            yield f"{name}:{number}: has no hash: {line.strip()}"


def _missing_packages(name: str, packages: Set[str]) -> Iterator[str]:
    """Read the requirements from the metadata of the packages that are installed here."""
    for package in sorted(packages):
        for requirement in map(Requirement, metadata.requires(package) or ()):
            pythons = _pythons(requirement.marker)
            if pythons and canonicalize_name(requirement.name) not in packages:
                versions = ", ".join(pythons)
                yield f"{name}: {package} requires {requirement.name} under Python {versions}"


def _pythons(marker: Marker | None) -> list[str]:
    """Return the versions with which the marker is true on any system, without extras."""
    return [
        python
        for python in PYTHONS
        if marker is None
        or any(marker.evaluate(_environment(python, *system)) for system in SYSTEMS)
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
