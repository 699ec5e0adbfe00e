"""Signatures are Ed25519, checkable without us; a key is made once, or given, or signing is off."""

import base64
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from hypothesis import given
from hypothesis import strategies as st

from killswitch.audit import signing

RAW = base64.b64encode(bytes(range(32))).decode()


def pem_of(key: Any) -> str:
    """Return a private key as openssl prints it."""
    pem: bytes = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return pem.decode()


@pytest.fixture
def embedded(settings: Any, tmp_path: Path) -> Path:
    """Return the path of the key of an installation without configuration."""
    settings.KILLSWITCH_HOME = tmp_path
    settings.DATABASE_URL = settings.AUDIT_SIGNING_KEY = ""
    return tmp_path / signing.KEY_FILE


def test_a_key_is_made_on_first_use_for_this_user_only(embedded: Path) -> None:
    signature = signing.sign(b"head")
    assert signing.verify(b"head", signature, signing.public_key_pem())
    assert stat.S_IMODE(embedded.stat().st_mode) == 0o600
    assert [path.name for path in embedded.parent.iterdir()] == [signing.KEY_FILE]
    pem = embedded.read_text()
    signing._from_file.cache_clear()
    assert signing.sign(b"head") == signature
    assert embedded.read_text() == pem


def test_many_processes_that_start_at_once_get_one_key(tmp_path: Path) -> None:
    code = (
        "import django; django.setup(); from killswitch.audit import signing;"
        "import sys; sys.stdin.readline(); print(signing.key_id())"
    )
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "killswitch.settings",
        "KILLSWITCH_HOME": str(tmp_path),
        "DATABASE_URL": "",
    }
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=django_settings.BASE_DIR,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    ids = [process.communicate("go\n", timeout=60)[0] for process in running]
    assert len(set(ids)) == 1
    assert len(ids[0].strip()) == signing.KEY_ID_CHARS


def test_a_damaged_key_file_is_not_replaced(embedded: Path) -> None:
    embedded.write_text("not a key")
    with pytest.raises(ImproperlyConfigured, match=r"audit_signing_key\.pem"):
        signing.sign(b"head")
    assert embedded.read_text() == "not a key"


@pytest.mark.parametrize("form", ["pem", "one line", "raw"])
def test_the_key_can_be_given_in_each_form(settings: Any, tmp_path: Path, form: str) -> None:
    pem = pem_of(signing.parse(RAW))
    text = {"pem": pem, "one line": pem.replace("\n", "\\n"), "raw": RAW}[form]
    settings.KILLSWITCH_HOME = tmp_path
    signing.check_setting(text)
    settings.AUDIT_SIGNING_KEY = text
    own = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    assert base64.b64decode(signing.sign(b"head")) == own.sign(b"head")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
        base64.b64encode(b"short").decode(),
        pem_of(generate_private_key(SECP256R1())),
    ],
)
def test_a_wrong_key_ends_the_start_with_its_name_and_a_hint(text: str) -> None:
    environment = os.environ | {"AUDIT_SIGNING_KEY": text, "DJANGO_SETTINGS_MODULE": ""}
    with pytest.raises(ImproperlyConfigured, match="openssl genpkey") as caught:
        signing.check_setting(text)
    assert text not in str(caught.value)
    if text == "x":
        started = subprocess.run(
            [sys.executable, "-c", "import killswitch.settings"],
            cwd=django_settings.BASE_DIR,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert started.returncode != 0
        assert "AUDIT_SIGNING_KEY" in started.stderr


def test_with_a_database_and_no_key_signing_is_off_and_says_so(
    settings: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings.KILLSWITCH_HOME = tmp_path
    settings.DATABASE_URL, settings.AUDIT_SIGNING_KEY = "postgresql://db/killswitch", ""
    signing._warn_once_that_it_is_off.cache_clear()
    assert signing.public_key_pem() == ""
    assert (signing.sign(b"head"), signing.key_id(), signing.public_key_pem()) == ("", "", "")
    assert "audit_signing_is_off" in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_openssl_names_and_checks_what_we_sign(embedded: Path, tmp_path: Path) -> None:
    assert shutil.which("openssl"), "openssl is missing"
    message, signature, public = (tmp_path / name for name in ("m", "s", "p"))
    message.write_bytes(b"the head")
    signature.write_bytes(base64.b64decode(signing.sign(b"the head")))
    public.write_text(signing.public_key_pem())
    checked = subprocess.run(
        [
            *("openssl", "pkeyutl", "-verify", "-pubin", "-inkey", public, "-rawin"),
            *("-in", message, "-sigfile", signature),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr
    der = subprocess.run(
        ["openssl", "pkey", "-pubin", "-in", public, "-outform", "DER"],
        capture_output=True,
        check=True,
    ).stdout
    digest = subprocess.run(
        ["openssl", "dgst", "-sha256", "-r"], input=der, capture_output=True, check=True
    ).stdout
    assert digest.decode().startswith(signing.key_id())


@given(st.binary(max_size=80), st.text(max_size=100), st.text(max_size=100))
def test_no_foreign_signature_or_key_is_taken_and_none_raises(
    data: bytes, signature: str, pem: str
) -> None:
    assert not signing.verify(data, signature, pem)
    own = signing.encode_public_key(signing.parse(RAW).public_key())
    assert not signing.verify(data, signature, own)


def test_a_changed_byte_is_noticed() -> None:
    key = signing.parse(RAW)
    signature = base64.b64encode(key.sign(b"head")).decode()
    pem = signing.encode_public_key(key.public_key())
    assert signing.verify(b"head", signature, pem)
    assert not signing.verify(b"heaD", signature, pem)
    assert not signing.verify(b"head", signature[:-6] + "AAAA==", pem)
    assert not signing.verify(b"head", f" {signature}", pem)
