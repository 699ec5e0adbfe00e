"""Finds or installs a Chromium for the browser tests, and fails loudly without one.

Runs with the standard library only.
"""

import os
import shutil
import subprocess
import sys

# The first is the same browser without windows, with which the tests take a third of the time.
NAMES = (
    "chromium-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
)
PACKAGES = ("chromium-headless-shell", "chromium")  # of Debian, the preferred one first


def main() -> None:
    """Find one, or install the package of Debian, or explain and fail."""
    can_install = os.geteuid() == 0 and shutil.which("apt-get") is not None
    if find_executable() or (can_install and install() and find_executable()):
        return
    sys.exit(
        "\n*** No Chromium: the browser tests cannot run, so this is a failure. ***\n"
        "PATH was searched for: " + ", ".join(NAMES) + ".\n"
        "Debian or Ubuntu:  apt-get install chromium-headless-shell\n"
        "Fedora:            dnf install chromium-headless\n"
        "macOS:             brew install --cask chromium, and put a `chromium` on PATH\n"
    )


def find_executable() -> str | None:
    """Return the path of the first one on PATH."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def install() -> bool:
    """Install one of the packages and return whether it worked; this changes the machine."""
    print(f"No Chromium on PATH: installing {PACKAGES[0]} with apt-get.", flush=True)
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    update = ["apt-get", "update", "-q"]
    subprocess.run(update, env=environment, check=False)  # noqa: S603 - an old list may suffice
    commands = (["apt-get", "install", "-qy", name] for name in PACKAGES)
    runs = (subprocess.run(command, env=environment, check=False) for command in commands)  # noqa: S603
    return any(run.returncode == 0 for run in runs)


if __name__ == "__main__":
    main()
