"""A log that an earlier version wrote still verifies, and so does the export it made of it.

`log_of_november_2026.tar.xz` was written by the version before packages, models and sentences got
new names: its database with 96 events of 25 kinds, its checkpoints and exports, and the public key.
Passwords and sessions were removed; the private key was not kept.
"""

import os
import shutil
import sqlite3
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ARCHIVE = Path(__file__).with_name("data") / "log_of_november_2026.tar.xz"
HEAD = "1e465a1f78ddd8656b800c3133cad4762fb6cdfcfde4da43dc847fbec5a77b04"


def run(home: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a Python program in the data directory of that version."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("DATABASE", "AUDIT"))
    }
    environment |= {
        "KILLSWITCH_HOME": str(home),
        "EMS_BASE_URL": "http://127.0.0.1:9",
        "DJANGO_SETTINGS_MODULE": "killswitch.settings",
    }
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data directory of that version, migrated by this one."""
    home = tmp_path_factory.mktemp("earlier")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(home, filter="data")
    migration = run(home, "manage.py", "migrate", "--verbosity=0")
    assert migration.returncode == 0, migration.stderr
    return home


def test_the_whole_log_verifies_after_the_migrations(home: Path) -> None:
    result = run(home, "manage.py", "verify_audit", "--public-key", str(home / "public_key.pem"))
    assert (
        result.stdout == f"Verification passed: 96 events, newest event 96, fingerprint {HEAD}\n"
    ), result.stderr
    assert result.returncode == 0
    assert "Checkpoints cover events up to 96 of 96." in result.stderr
    assert "Warning" not in result.stderr


def test_a_changed_word_of_it_is_found(home: Path, tmp_path: Path) -> None:
    shutil.copy(home / "killswitch.sqlite3", tmp_path)
    database = sqlite3.connect(tmp_path / "killswitch.sqlite3")
    database.execute("DROP TRIGGER audit_events_are_not_changed")
    database.execute("UPDATE audit_auditevent SET actor = 'Olga' WHERE seq = 27")
    database.commit()
    database.close()
    result = run(tmp_path, "manage.py", "verify_audit")
    assert result.returncode == 1
    assert result.stdout.startswith("Verification FAILED. CHAIN, first bad event 27: ")


@pytest.mark.parametrize("name", ["export.jsonl", "export.csv"])
def test_its_exports_verify(home: Path, name: str) -> None:
    result = run(
        home,
        "tools/verify_export.py",
        str(home / name),
        "--public-key",
        str(home / "public_key.pem"),
        "--checkpoints",
        str(home / "checkpoints.jsonl"),
    )
    assert result.returncode == 0, result.stdout
    assert result.stdout.endswith("PASSED: every check that you requested.\n")


def test_an_export_of_today_repeats_its_events_byte_by_byte(home: Path, tmp_path: Path) -> None:
    shutil.copy(home / "killswitch.sqlite3", tmp_path)
    export = run(tmp_path, "manage.py", "export_audit")
    assert export.returncode == 0, export.stderr
    earlier = (home / "export.jsonl").read_text().splitlines()[1:-1]
    assert export.stdout.splitlines()[1 : len(earlier) + 1] == earlier
