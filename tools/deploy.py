"""Copies the program and its systemd units to where they run; `make install` calls it.

Runs with the standard library only, and writes nothing outside the directories that it is given.

    python3 tools/deploy.py --prefix /opt/killswitch --config /etc/killswitch --units DIRECTORY
"""

import argparse
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# As in the Dockerfile, with what creates the virtual environment, and the documentation.
DIRECTORIES = ("killswitch", "templates", "static", "docs", "deploy")
FILES = ("manage.py", "requirements.lock", "LICENSE", "SECURITY.md", ".env.example")
TOOLS = ("install.py", "verify_export.py")
UNITS = ("killswitch@.service", "killswitch-prepare.service", "killswitch.target")
NOT_COPIED = shutil.ignore_patterns("__pycache__", "*.pyc", "*.pyo")
NEXT = """\
Copied to {prefix}. What is left to do, as root:

  cd {prefix} && python3 tools/install.py requirements.lock
  .venv/bin/python -m compileall -q killswitch
  useradd --system --home-dir /var/lib/killswitch --shell /usr/sbin/nologin killswitch
  install -d -g killswitch -m 0750 {config} {config}/secrets
  install -g killswitch -m 0640 {config}/killswitch.env.example {config}/killswitch.env

then write {config}/killswitch.env and the files of secrets that it names, and

  systemctl daemon-reload
  systemctl start killswitch-prepare
  systemctl enable --now killswitch.target
"""


def main() -> None:
    """Copy everything, and print what is left to do."""
    parser = argparse.ArgumentParser(description="Copy the program and its systemd units.")
    for name in ("prefix", "config", "units"):
        parser.add_argument(f"--{name}", required=True, type=Path, help="an absolute path")
    parser.add_argument("--destdir", default="", help="put in front of the others, by packagers")
    arguments = parser.parse_args()
    paths = (arguments.prefix, arguments.config, arguments.units)
    if not all(path.is_absolute() and path != Path("/") for path in paths):
        sys.exit("PREFIX, SYSCONFDIR and UNITDIR must be absolute paths, and not /.")
    prefix, config, units = (Path(f"{arguments.destdir}{path}").absolute() for path in paths)
    # What is replaced there is deleted first: not the source itself.
    if prefix.resolve() == ROOT or ROOT.is_relative_to(prefix.resolve()):
        sys.exit(f"PREFIX={prefix} contains this source. Name another directory.")
    copy_program(prefix)
    copy_units(config, units, installed_at=paths)
    print(NEXT.format(prefix=arguments.prefix, config=arguments.config))


def copy_program(prefix: Path) -> None:
    """Copy the program; modules of an earlier version do not stay."""
    for name in DIRECTORIES:
        shutil.rmtree(prefix / name, ignore_errors=True)
        shutil.copytree(ROOT / name, prefix / name, ignore=NOT_COPIED)
    for name in FILES:
        shutil.copy(ROOT / name, prefix / name)
    (prefix / "tools").mkdir(exist_ok=True)
    for name in TOOLS:
        shutil.copy(ROOT / "tools" / name, prefix / "tools" / name)


def copy_units(config: Path, units: Path, *, installed_at: tuple[Path, Path, Path]) -> None:
    """Copy the units and the example of their variables, with the directories of this machine.

    A `killswitch.env` that exists is never changed.
    """
    prefix, config_there, _ = installed_at
    for directory, names in ((units, UNITS), (config, ("killswitch.env.example",))):
        directory.mkdir(parents=True, exist_ok=True)
        for name in names:
            text = (ROOT / "deploy" / "systemd" / name).read_text()
            text = text.replace("/opt/killswitch", str(prefix))
            (directory / name).write_text(text.replace("/etc/killswitch", str(config_there)))
            (directory / name).chmod(0o644)


if __name__ == "__main__":
    main()
