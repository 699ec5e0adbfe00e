"""Finds or installs the programs that the tests need besides Python, and fails loudly without one.

Runs with the standard library only.
"""

import glob
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass

# Debian installs servers in directories that are not on every user's PATH.
DIRECTORIES = ("/usr/sbin", "/usr/lib/postgresql/*/bin")


@dataclass(frozen=True)
class Program:
    """A program, by the names of its executable and of Debian's packages, preferred ones first."""

    title: str
    names: tuple[str, ...]
    packages: tuple[str, ...]

    def find(self) -> str | None:
        """Return the path of the first executable that exists."""
        found = (shutil.which(name, path=_search_path()) for name in self.names)
        return next((path for path in found if path), None)


CHROMIUM = Program(
    "Chromium",
    # The first is the same browser without windows, with which the tests take a third of the time.
    (
        "chromium-headless-shell",
        "chromium",
        "chromium-browser",
        "google-chrome",
        "google-chrome-stable",
    ),
    ("chromium-headless-shell", "chromium"),
)
# Checks the metrics and the rules of alerts; the package's server is not started.
PROMTOOL = Program("promtool", ("promtool",), ("prometheus",))
SYSTEMD = Program("systemd-analyze", ("systemd-analyze",), ("systemd",))
NGINX = Program("nginx", ("nginx",), ("nginx-light", "nginx"))
# The wheel's server cannot speak TLS, and is one; high availability takes two.
POSTGRESQL = Program("PostgreSQL", ("initdb",), ("postgresql",))
PGBOUNCER = Program("PgBouncer", ("pgbouncer",), ("pgbouncer",))
# The wheel's server cannot speak TLS.
REDIS = Program("Redis", ("redis-server",), ("redis-server",))
PROGRAMS = (CHROMIUM, PROMTOOL, SYSTEMD, NGINX, POSTGRESQL, PGBOUNCER, REDIS)


def main() -> None:
    """Find all programs, or install the packages of Debian, or explain and fail."""
    missing = _missing()
    if missing and os.geteuid() == 0 and shutil.which("apt-get"):
        _install(missing)
        missing = _missing()
    if missing:
        lines = [f"  {program.title}: {' or '.join(program.packages)}" for program in missing]
        sys.exit(
            "\n*** Some tests cannot run, so this is a failure. These programs are missing, with"
            " the Debian packages that contain them: ***\n" + "\n".join(lines) + "\nPATH and"
            f" {' and '.join(DIRECTORIES)} were searched. On Debian and Ubuntu: apt-get install"
            " PACKAGE. On other systems install the program in any way that puts it on PATH."
        )


def _missing() -> list[Program]:
    return [program for program in PROGRAMS if not program.find()]


def _search_path() -> str:
    directories = [path for pattern in DIRECTORIES for path in sorted(glob.glob(pattern))]
    return os.pathsep.join([os.environ.get("PATH", os.defpath), *directories])


def _install(missing: list[Program]) -> None:
    """Install a package of each; this changes the machine, but starts no server on it."""
    titles = ", ".join(program.title for program in missing)
    print(f"Not on this machine: {titles}. Installing with apt-get.", flush=True)
    # In run level 1 the scripts of Debian's packages start nothing.
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    _run(["apt-get", "update", "-q"], environment)  # an old list may suffice
    for program in missing:
        any(_run(["apt-get", "install", "-qy", name], environment) for name in program.packages)


def _run(command: list[str], environment: dict[str, str]) -> bool:
    return subprocess.run(command, env=environment, check=False).returncode == 0  # noqa: S603


if __name__ == "__main__":
    main()
