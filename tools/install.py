"""Creates the virtual environment and installs a lock file into it, unless it is up to date.

Runs with the system's Python and its standard library only.

    python3 tools/install.py requirements.lock
"""

import hashlib
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".venv"
PYTHON = ENVIRONMENT / "bin" / "python"
OLDEST = (3, 11)
NEWEST = (3, 13)
# The development lock contains all packages of the other one, in the same versions.
COVERED = {"requirements-dev.lock": ("requirements-dev.lock", "requirements.lock")}
# Set for another program, they would have pip install elsewhere. Those that name a package index
# are obeyed.
ELSEWHERE = {"PIP_PREFIX", "PIP_PYTHON", "PIP_ROOT", "PIP_TARGET", "PIP_USER", "PIP_DRY_RUN"}


def main() -> None:
    """Install the lock file named on the command line, unless it is installed already."""
    name = sys.argv[1]
    check_version()
    is_stamped = PYTHON.exists() and stamp(name).exists()
    if is_stamped and stamp(name).read_text() == digest(ROOT / name):
        return
    make_environment()
    print(f"Installing {name}; this happens once for each version of it.", flush=True)
    pip: list[str | Path] = [
        PYTHON,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ]
    if not succeeds([*pip, "--require-hashes", "-r", ROOT / name]):
        sys.exit(
            f"{name} could not be installed; pip's message is above. pip needs a package index that"
            " it can reach (it reads PIP_INDEX_URL and pip.conf)."
        )
    for covered in COVERED.get(name, (name,)):
        stamp(covered).write_text(digest(ROOT / covered))


def check_version() -> None:
    """Exit unless this Python is one of those that the lock was made for."""
    major, minor = sys.version_info[:2]
    if not OLDEST <= (major, minor) <= NEWEST:
        sys.exit(
            f"This is Python {major}.{minor}; 3.{OLDEST[1]} to 3.{NEWEST[1]} is required."
            " Install one; if make does not find it: make PYTHON=/path/to/python3.11 …"
        )


def make_environment() -> None:
    """Create `.venv` if it is missing or broken."""
    if PYTHON.exists() and succeeds([PYTHON, "-m", "pip", "--version"], output=subprocess.DEVNULL):
        return
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        version = f"python3.{sys.version_info[1]}"
        sys.exit(
            f"This Python lacks `venv` or `ensurepip`. On Debian or Ubuntu: apt install"
            f" {version}-venv. Then run make again."
        )
    if not succeeds([sys.executable, "-m", "venv", "--clear", ENVIRONMENT]):
        sys.exit(f"The virtual environment {ENVIRONMENT} could not be created; see above.")


def succeeds(command: Sequence[str | Path], *, output: int | None = None) -> bool:
    """Run a command and return whether its exit code is 0; `output` is for both its streams."""
    process = subprocess.run(  # noqa: S603
        command, check=False, stdout=output, stderr=output, env=pip_environment(os.environ)
    )
    return process.returncode == 0


def pip_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables without those that have pip install elsewhere."""
    return {name: value for name, value in environment.items() if name not in ELSEWHERE}


def stamp(name: str) -> Path:
    """Return the file with the digest of the installed lock file; it is part of the environment."""
    return ENVIRONMENT / f".installed-{name}"


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    main()
