"""Variables of other programs change nothing in a command that is started as users do it."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings

from killswitch import inherited_environment
from tests import foreign_variables
from tests.supervision.system_process import MANAGE, environment
from tests.test_packaging import FILE_VARIABLES
from tests.test_packaging import VARIABLES as SETTINGS

FOREIGN_REDIS = "redis://127.0.0.1:1/0"
# One line with what a process has become.
STATE = """
import builtins, os, ssl, sys, warnings
from django.conf import settings
from killswitch.celery import app
print({
    "settings": settings.SETTINGS_MODULE,
    "queue": {app.conf.broker_read_url, app.conf.broker_write_url, app.conf.broker_url},
    "result_backend": app.conf.result_backend,
    "flags": (sys.flags.optimize, sys.flags.inspect, sys.flags.dev_mode, sys.flags.safe_path),
    "warnings": sys.warnoptions,
    "encoding": sys.stdout.encoding,
    "replaced": hasattr(builtins, "of_another_program"),
    "key_log": ssl.create_default_context().keylog_filename,
    "foreign_variables": sorted(set(NAMES) & os.environ.keys()),
})
"""
ALONE = {
    "PYTHONSAFEPATH": "1",
    "PYTHONWARNINGS": "error",
    "PYTHONOPTIMIZE": "2",
    "PYTHONINSPECT": "1",
    "PYTHONIOENCODING": "ascii:strict",
    "DJANGO_SETTINGS_MODULE": "other.settings",
    "CELERY_BROKER_URL": FOREIGN_REDIS,
    "CELERY_BROKER_READ_URL": FOREIGN_REDIS,
    "CELERY_BROKER_WRITE_URL": FOREIGN_REDIS,
    "CELERY_RESULT_BACKEND": FOREIGN_REDIS,
    "SSLKEYLOGFILE": "/nowhere/keys.txt",
}
ALL = foreign_variables.VARIABLES | ALONE


def run(*command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        env=environment(LC_ALL="C.UTF-8", **variables),
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
        cwd="/",
    )


def state(home: Path, **variables: str) -> dict[str, object]:
    """Return what a management command with these variables becomes."""
    names = sorted(variables.keys() - {"DJANGO_SETTINGS_MODULE"})
    code = STATE.replace("NAMES", repr(names))
    process = run(MANAGE, "shell", "-c", code, KILLSWITCH_HOME=str(home), **variables)
    assert (process.returncode, process.stderr) == (0, "")
    values: dict[str, object] = ast.literal_eval(process.stdout.splitlines()[-1])
    return values


def own_state(home: Path) -> dict[str, object]:
    return {
        "settings": "killswitch.settings",
        "queue": {f"redis+socket://{home}/redis.sock"},
        "result_backend": None,
        "flags": (0, 0, False, False),
        "warnings": [],
        "encoding": "utf-8",
        "replaced": False,
        "key_log": None,
        "foreign_variables": [],
    }


@pytest.mark.parametrize("name", sorted(ALL))
def test_no_variable_of_another_program_is_kept(name: str) -> None:
    assert inherited_environment.kept({name: ALL[name]}) == {}


@pytest.mark.parametrize("name", ALONE)
def test_one_foreign_variable_changes_nothing(tmp_path: Path, name: str) -> None:
    assert state(tmp_path, **{name: ALONE[name]}) == own_state(tmp_path)


def test_foreign_modules_are_not_imported(tmp_path: Path) -> None:
    modules = foreign_variables.module_path(tmp_path / "modules")
    assert state(tmp_path, PYTHONPATH=str(modules)) == own_state(tmp_path)


def test_all_foreign_variables_together_change_nothing(tmp_path: Path) -> None:
    modules = foreign_variables.module_path(tmp_path / "modules")
    assert state(tmp_path, **ALL, PYTHONPATH=str(modules)) == own_state(tmp_path)


def test_a_process_without_foreign_variables_is_not_started_twice() -> None:
    code = "import os, sys; os.execv = lambda *_: sys.exit('started again')"
    start = f"import runpy; runpy.run_path({MANAGE!r}, run_name='__main__')"
    wrapper = f"{code}; sys.argv = ['manage.py', 'version']; {start}"
    own = {"PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONWARNINGS": ""}
    process = run("-c", wrapper, PYTHONPATH=str(settings.BASE_DIR), **own)
    assert (process.returncode, process.stderr) == (0, "")
    assert run("-c", wrapper, PYTHONWARNINGS="error").stderr == "started again\n"


@pytest.mark.parametrize(
    "name", ["CELERY_BROKER_URL", "CELERY_BROKER_READ_URL", "BROKER_URL", "DJANGO_SETTINGS_MODULE"]
)
def test_celerys_own_command_uses_our_queue(tmp_path: Path, name: str) -> None:
    variables = {"KILLSWITCH_HOME": str(tmp_path), "PYTHONPATH": str(settings.BASE_DIR)}
    variables[name] = ALL.get(name, FOREIGN_REDIS)
    output = run("-m", "celery", "-A", "killswitch", "inspect", "ping", **variables).stderr
    assert f"{tmp_path}/redis.sock" in output, output
    assert "127.0.0.1" not in output


def test_every_setting_is_kept() -> None:
    names = [*SETTINGS, *FILE_VARIABLES, "KILLSWITCH_PASSWORD", "EMS_SIMULATOR_KEY"]
    variables = dict.fromkeys(names, "1")
    assert inherited_environment.kept(variables) == variables


@pytest.mark.parametrize(
    "name",
    [
        *("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "OPENSSL_CONF"),
        *("http_proxy", "HTTPS_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"),
        *("PGPASSFILE", "PGPASSWORD", "PGSSLMODE", "PGSSLROOTCERT", "PGCHANNELBINDING"),
    ],
)
def test_variables_of_the_system_and_proofs_of_identity_are_kept(name: str) -> None:
    assert inherited_environment.kept({name: "value"}) == {name: "value"}


def test_make_passes_no_variable_of_python_to_the_python_that_installs() -> None:
    foreign = foreign_variables.OF_PYTHON | {"PYTHONHOME": "/nowhere", "PYTHONPATH": "/nowhere"}
    process = subprocess.run(
        ["make", "--no-print-directory", "--eval", "variables:; @env", "variables"],
        env=environment(**foreign, PIP_INDEX_URL="https://index.example.com", PYTHON="python3"),
        cwd=settings.BASE_DIR,
        capture_output=True,
        text=True,
        check=True,
    )
    names = set(re.findall(r"^(\w+)=", process.stdout, re.MULTILINE))
    assert names & foreign.keys() == set()
    assert {"PIP_INDEX_URL", "PYTHON", "PATH"} <= names


def test_make_installs_into_the_environment_whatever_pip_is_told_elsewhere() -> None:
    from tools import install

    variables = dict.fromkeys(["PIP_TARGET", "PIP_USER", "PIP_PREFIX", "PIP_ROOT"], "1")
    assert install.pip_environment(os.environ | variables).keys() & variables.keys() == set()
    index = {"PIP_INDEX_URL": "https://index.example.com"}
    assert install.pip_environment(index) == index
