"""Sees to it that there is a Chromium for the browser tests, and says loudly when there is none.

Runs with the standard library only.
"""

import os
import shutil
import subprocess
import sys

# The first is the same browser without its own windows: the tests need a third of the time.
NAMES = (
    "chromium-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
)
PACKAGES = ("chromium-headless-shell", "chromium")  # Debian's, the better one first


def main() -> None:
    """Find one; else install Debian's package; else explain and fail."""
    if found() or (can_install() and install() and found()):
        return
    sys.exit(
        "\n*** No Chromium: the browser tests cannot run, so this is a failure. ***\n"
        "Looked on PATH for: " + ", ".join(NAMES) + ".\n"
        "Debian or Ubuntu:  apt-get install chromium-headless-shell\n"
        "Fedora:            dnf install chromium-headless\n"
        "macOS:             brew install --cask chromium, and put a `chromium` on PATH\n"
    )


def found() -> str | None:
    """The path of the first one on PATH."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def can_install() -> bool:
    """Debian's packages need root."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def install() -> bool:
    """Install one of Debian's packages. Says what it does: this changes the machine."""
    print(f"No Chromium on PATH: installing {PACKAGES[0]} with apt-get.", flush=True)
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    updating = ["apt-get", "update", "-q"]
    subprocess.run(updating, env=environment, check=False)  # noqa: S603  # an old list may do
    installing = (["apt-get", "install", "-qy", name] for name in PACKAGES)
    runs = (subprocess.run(step, env=environment, check=False) for step in installing)  # noqa: S603
    return any(run.returncode == 0 for run in runs)


if __name__ == "__main__":
    main()
