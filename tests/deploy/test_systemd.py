"""The systemd units are valid and hardened where `make install` puts them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from killswitch import inherited_environment
from killswitch.supervision import run
from killswitch.supervision.programs import all_programs
from tools import deploy
from tools.programs import SYSTEMD

UNITS = ("killswitch@web.service", "killswitch@worker.service", "killswitch-prepare.service")
# Of 100, where 0 is a program that can do nothing; this one needs the network and its own files.
MAX_EXPOSURE = 20


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an empty directory in which `make install` has been run."""
    root = tmp_path_factory.mktemp("machine")
    install(DESTDIR=str(root), PREFIX="/srv/killswitch")
    return root


def install(**variables: str) -> subprocess.CompletedProcess[str]:
    arguments = [f"{name}={value}" for name, value in variables.items()]
    return subprocess.run(
        ["make", "--no-print-directory", f"PYTHON={sys.executable}", "install", *arguments],
        cwd=deploy.ROOT,
        capture_output=True,
        text=True,
        check=True,
    )


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = SYSTEMD.find()
    assert program, "systemd-analyze is missing: run `make programs`"
    return subprocess.run(
        [program, *arguments], capture_output=True, text=True, check=False, timeout=60
    )


def test_the_program_is_copied_and_runs_from_there(root: Path) -> None:
    prefix = root / "srv" / "killswitch"
    process = subprocess.run(
        [sys.executable, prefix / "manage.py", "check"],
        env={"PATH": "/usr/bin:/bin", "KILLSWITCH_HOME": str(root / "home")},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    for name in ("LICENSE", "tools/install.py", "requirements.lock", "docs/operating.md"):
        assert (prefix / name).is_file()


def test_nothing_is_written_elsewhere_and_no_secret_exists(tmp_path: Path) -> None:
    output = install(DESTDIR=str(tmp_path), PREFIX="/srv/killswitch").stdout
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")}
    tops = ("srv/killswitch", "etc/killswitch", "etc/systemd/system")
    assert {path for path in written if not path.startswith(tops)} <= {"srv", "etc", "etc/systemd"}
    assert {path for path in written if path.endswith((".pyc", ".sqlite3", ".env"))} == set()
    assert "systemctl enable --now killswitch.target" in output


def test_a_second_installation_replaces_the_program_and_keeps_the_settings(tmp_path: Path) -> None:
    where = {"DESTDIR": str(tmp_path), "PREFIX": "/srv/killswitch"}
    install(**where)
    old_module = tmp_path / "srv/killswitch/killswitch/of_an_earlier_version.py"
    old_module.touch()
    settings = tmp_path / "etc/killswitch/killswitch.env"
    settings.write_text("HOST=::1\n")
    install(**where)
    assert not old_module.exists()
    assert settings.read_text() == "HOST=::1\n"


@pytest.mark.parametrize("prefix", ["relative", "/", str(deploy.ROOT), str(deploy.ROOT.parent)])
def test_the_source_is_never_replaced_by_itself(prefix: str) -> None:
    with pytest.raises(subprocess.CalledProcessError) as failure:
        install(PREFIX=prefix)
    assert "PREFIX" in failure.value.stderr
    assert (deploy.ROOT / "manage.py").exists()


@pytest.mark.parametrize("unit", [*UNITS, "killswitch.target"])
def test_a_unit_is_valid(root: Path, tmp_path: Path, unit: str) -> None:
    """As installed, but where a Python exists; a warning is a failure as well."""
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").symlink_to(sys.executable)
    for installed in (root / "etc/systemd/system").iterdir():
        text = installed.read_text().replace("/srv/killswitch", str(tmp_path))
        (tmp_path / installed.name).write_text(text)
    for name in UNITS:  # an instance is a link to its template
        if "@" in name:
            (tmp_path / name).symlink_to("killswitch@.service")
    process = analyze("verify", "--man=no", str(tmp_path / unit))
    own_lines = [line for line in process.stderr.splitlines() if "killswitch" in line]
    assert (process.returncode, own_lines) == (0, [])


@pytest.mark.parametrize("name", ["killswitch@.service", "killswitch-prepare.service"])
def test_a_unit_is_hardened(root: Path, name: str) -> None:
    path = root / "etc/systemd/system" / name
    limit = f"--threshold={MAX_EXPOSURE}"
    process = analyze("security", "--no-pager", "--offline=true", limit, str(path))
    assert process.returncode == 0, process.stdout
    assert "Overall exposure level" in process.stdout


def test_systemd_leaves_the_supervisor_time_to_stop(root: Path) -> None:
    text = (root / "etc/systemd/system/killswitch@.service").read_text()
    (timeout,) = re.findall(r"^TimeoutStopSec=(\d+)$", text, re.MULTILINE)
    assert int(timeout) > run.STOP_TIMEOUT_S + 2
    assert "KillMode=mixed" in text, "SIGTERM is for the supervisor alone"


def test_the_target_starts_each_program(root: Path) -> None:
    text = (root / "etc/systemd/system/killswitch.target").read_text()
    programs = {program.name for program in all_programs()} - {"redis", "simulator"}
    assert set(re.findall(r"killswitch@(\w+)\.service", text)) == programs


def test_each_variable_of_the_example_is_one_of_ours(root: Path) -> None:
    text = (root / "etc/killswitch/killswitch.env.example").read_text()
    names = re.findall(r"^([A-Z_]+)=", text, re.MULTILINE)
    assert "SECRET_KEY_FILE" in names
    assert inherited_environment.kept(dict.fromkeys(names, "")).keys() == {*names}
