"""A secret may be in a file; a file that cannot be one is refused without its content."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command

from killswitch import env
from killswitch.accounts.models import User
from tests.supervision.system_process import MANAGE, environment

VALUES = {
    "SECRET_KEY": "hunter22" * 4,
    "SECRET_KEY_FALLBACKS": "hunter23 hunter24",
    "EMS_API_KEY": "hunter25",
    "DATABASE_URL": "sqlite:////nowhere/hunter26.sqlite3",
    "REDIS_URL": "redis://:hunter27@127.0.0.1:1/0",
    "ALERT_URLS": "json://hunter28.example.com json://hunter29.example.com",
    "ARCHIVE_URLS": "json://hunter30.example.com",
    "AUDIT_SIGNING_KEY": Ed25519PrivateKey.generate()
    .private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    .decode()
    .rstrip(),
}
# Prints the settings, and whether the log masks the values of those that are secret by themselves.
STATE = """
import json
from django.conf import settings
from killswitch.structured_logs import masked
from killswitch.supervision.lifecycle_events import fingerprint
print(json.dumps([
    *[getattr(settings, name) for name in NAMES],
    fingerprint(),
    masked(" ".join([settings.SECRET_KEY, settings.EMS_API_KEY, settings.AUDIT_SIGNING_KEY])),
]))
"""


@pytest.fixture
def set_file(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Path | str], None]:
    """Return a function that names the file of a secret."""

    def name_file(name: str, path: Path | str) -> None:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv(f"{name}_FILE", str(path))

    return name_file


def manage(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, MANAGE, *arguments],
        env=environment(EMS_BASE_URL="http://127.0.0.1:9", **variables),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_process_with_files_is_the_same_as_one_with_variables(tmp_path: Path) -> None:
    files = {}
    for name, value in VALUES.items():
        (tmp_path / name).write_text(f"{value}\n")
        files[f"{name}_FILE"] = str(tmp_path / name)
    code = STATE.replace("NAMES", repr(list(VALUES)))
    home = {"KILLSWITCH_HOME": str(tmp_path / "home")}
    by_variable = manage("shell", "-c", code, **home, **VALUES)
    by_file = manage("shell", "-c", code, **home, **files)
    assert (by_file.returncode, by_file.stderr) == (0, "")
    assert by_file.stdout == by_variable.stdout
    assert by_file.stdout.endswith('"*** *** ***"]\n')
    assert "hunter29.example.com" in by_file.stdout


def test_every_secret_is_tried() -> None:
    assert {*VALUES, "KILLSWITCH_PASSWORD"} == {*env.FROM_FILES}


@pytest.mark.parametrize("name", env.FROM_FILES)
@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_the_final_line_break_is_no_part_of_the_value(
    tmp_path: Path, set_file: Callable[..., None], name: str, end: str
) -> None:
    (tmp_path / "file").write_bytes(f"\ufeffhunter22{end}".encode())
    set_file(name, tmp_path / "file")
    assert env.secret(name) == env.text(name) == "hunter22"


def test_spaces_of_a_password_and_all_but_one_line_break_are_kept(
    tmp_path: Path, set_file: Callable[..., None]
) -> None:
    (tmp_path / "file").write_text(" hunter22 \n")
    set_file("KILLSWITCH_PASSWORD", tmp_path / "file")
    assert env.secret("KILLSWITCH_PASSWORD") == " hunter22 "
    set_file("AUDIT_SIGNING_KEY", tmp_path / "file")
    (tmp_path / "file").write_text("one\ntwo\n\n")
    assert env.secret("AUDIT_SIGNING_KEY") == "one\ntwo\n"


def test_a_file_in_the_home_directory_is_found(
    tmp_path: Path, set_file: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "file").write_text("hunter22")
    set_file("EMS_API_KEY", "~/file")
    assert env.text("EMS_API_KEY") == "hunter22"


# --- refused ----------------------------------------------------------------------------------


def text_file(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


@pytest.mark.parametrize("name", env.FROM_FILES)
@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: None, r"cannot be read \(No such file or directory\)"),
        (Path.mkdir, r"cannot be read \(file is not a regular file\)"),
        (os.mkfifo, r"cannot be read \(file is not a regular file\)"),
        (lambda path: path.symlink_to("/dev/zero"), r"cannot be read \(file is not a regular"),
        (lambda path: path.symlink_to(path), r"cannot be read \(Too many levels"),
        # Even a process of root cannot read this one.
        (lambda path: path.symlink_to("/proc/self/mem"), r"cannot be read \(Input/output error\)"),
        (text_file(b""), "is empty"),
        (text_file(b" \n\n"), "is empty"),
        (text_file("\ufeff\n".encode()), "is empty"),
        (text_file(b"hunter22\xff"), "is not text in UTF-8"),
        (text_file("hunter22".encode("utf-16")), "is not text in UTF-8"),
        (text_file(b"hunter22\0\0\0"), "is not text"),
        (text_file(b"hunter22" * 10_000), "is larger than 64 KiB"),
    ],
)
def test_a_file_that_cannot_be_a_secret_is_refused(
    tmp_path: Path,
    set_file: Callable[..., None],
    name: str,
    make: Callable[[Path], object],
    reason: str,
) -> None:
    make(tmp_path / "file")
    set_file(name, tmp_path / "file")
    message = rf"^{name}_FILE: {tmp_path}/file {reason}.*\. Name a text file .* of {name}\.$"
    with pytest.raises(ImproperlyConfigured, match=message) as refusal:
        env.text(name)
    assert "hunter" not in str(refusal.value)


@pytest.mark.parametrize("name", sorted({*env.FROM_FILES} - env.SEVERAL_LINES))
def test_two_values_in_a_file_of_one_are_refused(
    tmp_path: Path, set_file: Callable[..., None], name: str
) -> None:
    (tmp_path / "file").write_text("hunter22\nhunter23\n")
    set_file(name, tmp_path / "file")
    with pytest.raises(ImproperlyConfigured, match="file contains several lines") as refusal:
        env.text(name)
    assert "hunter" not in str(refusal.value)


@pytest.mark.parametrize("name", env.FROM_FILES)
@pytest.mark.parametrize("mistake", ["hunter22", "postgresql://olga:hunter22@h/log", "secrets/key"])
def test_a_secret_in_place_of_its_file_is_refused_without_repeating_it(
    set_file: Callable[..., None], name: str, mistake: str
) -> None:
    set_file(name, mistake)
    with pytest.raises(ImproperlyConfigured, match=f"^{name}_FILE must be the absolute") as refusal:
        env.text(name)
    assert mistake not in str(refusal.value)


@pytest.mark.parametrize("name", env.FROM_FILES)
def test_a_variable_and_a_file_are_refused_together(
    tmp_path: Path, set_file: Callable[..., None], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    set_file(name, tmp_path / "missing")
    monkeypatch.setenv(name, "hunter22")
    message = f"^{name} and {name}_FILE are both set. Unset one of them"
    with pytest.raises(ImproperlyConfigured, match=message) as refusal:
        env.text(name)
    assert "hunter22" not in str(refusal.value)
    monkeypatch.setenv(f"{name}_FILE", " ")
    assert env.text(name) == "hunter22", "an empty variable counts as not set"


def test_a_start_is_refused_in_one_sentence_and_waits_for_no_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    process = manage("check", KILLSWITCH_HOME=str(tmp_path), SECRET_KEY_FILE=f"{tmp_path}/pipe")
    assert process.returncode == 2
    assert process.stderr.startswith(f"killswitch cannot start: SECRET_KEY_FILE: {tmp_path}/pipe")
    assert len(process.stderr.splitlines()) == 1


@pytest.mark.django_db
def test_the_password_of_a_new_user_may_be_in_a_file(
    tmp_path: Path, set_file: Callable[..., None]
) -> None:
    set_file("KILLSWITCH_PASSWORD", tmp_path / "file")
    with pytest.raises(CommandError, match=r"^No user was added: KILLSWITCH_PASSWORD_FILE: "):
        call_command("add_user", "olga", "--role", "risk_officer")
    (tmp_path / "file").write_text("correct horse battery\n")
    call_command("add_user", "olga", "--role", "risk_officer")
    assert User.objects.get().check_password("correct horse battery")
