"""Makes the virtual environment and installs a lock file into it; quick when nothing has changed.

Runs with the system's Python and its standard library only.

    python3 tools/install.py requirements.lock
"""

import hashlib
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".venv"
PYTHON = ENVIRONMENT / "bin" / "python"
OLDEST = (3, 11)
NEWEST = (3, 13)
# The development lock holds everything of the other one, in the same versions.
COVERED = {"requirements-dev.lock": ("requirements-dev.lock", "requirements.lock")}


def main() -> None:
    """Install the lock file named on the command line, unless it is what is there."""
    name = sys.argv[1]
    check_version()
    wanted = digest(ROOT / name)
    if PYTHON.exists() and stamp(name).exists() and stamp(name).read_text() == wanted:
        return
    make_environment()
    print(f"Installing {name}; this happens once for each version of it.", flush=True)
    command: list[str | Path] = [
        PYTHON,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ]
    if not succeeds([*command, "--require-hashes", "-r", ROOT / name]):
        sys.exit(
            f"{name} could not be installed. pip's words are above; it needs a package index that"
            " it can reach (pip reads PIP_INDEX_URL and pip.conf)."
        )
    for covered in COVERED.get(name, (name,)):
        stamp(covered).write_text(digest(ROOT / covered))


def check_version() -> None:
    """The lock was made for these versions."""
    found = sys.version_info[:2]
    if not OLDEST <= found <= NEWEST:
        sys.exit(
            f"Python {found[0]}.{found[1]} runs here, and 3.{OLDEST[1]} to 3.{NEWEST[1]} is needed."
            " Install one, and name it if it is not found: make PYTHON=/path/to/python3.11 …"
        )


def make_environment() -> None:
    """Make `.venv` when it is not there, or when its Python is gone."""
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
        sys.exit(f"The virtual environment {ENVIRONMENT} could not be made; see above.")


def succeeds(command: list[str | Path], *, output: int | None = None) -> bool:
    """Run a command of our own; `output` may be thrown away."""
    done = subprocess.run(command, check=False, stdout=output, stderr=output)  # noqa: S603
    return done.returncode == 0


def stamp(name: str) -> Path:
    """Says which content of a lock file is installed; it goes when the environment goes."""
    return ENVIRONMENT / f".installed-{name}"


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    main()
