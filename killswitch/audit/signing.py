"""Signs heads and manifests with Ed25519, and checks such signatures.

The key comes from AUDIT_SIGNING_KEY. Where no database is configured either, one is made on first
use and kept beside the embedded database. Otherwise signing is off: every signature is then an
empty text, which says so.
"""

import base64
import binascii
import hashlib
import os
import secrets
from functools import cache
from pathlib import Path

import structlog
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

KEY_FILE = "audit_signing_key.pem"
KEY_ID_LENGTH = 16  # hexadecimal digits

log = structlog.get_logger(__name__)


class InvalidSigningKey(ValueError):
    """A text that holds no Ed25519 key of the kind asked for."""


def public_key_pem() -> str:
    """The public half, for whoever wants to check without us; empty when signing is off."""
    key = _key()
    return _pem(key.public_key()) if key else ""


def public_key_pem_if_made() -> str:
    """The same without making a key where none is kept: whoever verifies leaves no trace."""
    is_given = settings.AUDIT_SIGNING_KEY or settings.DATABASE_URL
    return public_key_pem() if is_given or _key_file().exists() else ""


def key_id(public_pem: str | None = None) -> str:
    """A short name of a public key, of our own unless one is given; empty when signing is off.

    The first 16 hexadecimal digits of SHA-256 over the key as `openssl pkey -pubin -outform DER`
    writes it.
    """
    pem = public_key_pem() if public_pem is None else public_pem
    if not pem:
        return ""
    der = _public(pem).public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return hashlib.sha256(der).hexdigest()[:KEY_ID_LENGTH]


def sign(data: bytes) -> str:
    """The signature in base64; empty when signing is off."""
    key = _key()
    return base64.b64encode(key.sign(data)).decode("ascii") if key else ""


def verify(data: bytes, signature: str, public_pem: str) -> bool:
    """Whether that key made that signature over these bytes. A text that is none did not."""
    try:
        _public(public_pem).verify(base64.b64decode(signature, validate=True), data)
    except (InvalidSignature, InvalidSigningKey, binascii.Error, ValueError):
        return False
    return True


def check_setting(text: str) -> None:
    """Raises ImproperlyConfigured when the text of AUDIT_SIGNING_KEY holds no key."""
    try:
        parse(text)
    except InvalidSigningKey:
        raise ImproperlyConfigured(
            "AUDIT_SIGNING_KEY holds no Ed25519 private key. Give what `openssl genpkey -algorithm"
            " ed25519` prints (line breaks may be written as \\n), or its 32 bytes in base64."
        ) from None


def parse(text: str) -> Ed25519PrivateKey:
    """A private key from PEM, or from its 32 raw bytes in base64. Raises `NotAKey`."""
    try:
        if "-----BEGIN" in text:
            pem = text.replace("\\n", "\n").encode()
            key = serialization.load_pem_private_key(pem, password=None)
        else:
            key = Ed25519PrivateKey.from_private_bytes(base64.b64decode(text, validate=True))
    except Exception as error:  # the library raises its own, ValueError, TypeError and more
        raise InvalidSigningKey from error
    if not isinstance(key, Ed25519PrivateKey):
        raise InvalidSigningKey
    return key


def _key() -> Ed25519PrivateKey | None:
    if settings.AUDIT_SIGNING_KEY:
        return _parsed(settings.AUDIT_SIGNING_KEY)
    if settings.DATABASE_URL:
        _say_that_it_is_off()
        return None
    return _kept(_key_file())


def _key_file() -> Path:
    return Path(settings.KILLSWITCH_HOME) / KEY_FILE


_parsed = cache(parse)


@cache
def _say_that_it_is_off() -> None:
    log.warning(
        "audit_signing_is_off",
        hint="AUDIT_SIGNING_KEY is not set: checkpoints and exports carry no signature.",
    )


@cache
def _kept(path: Path) -> Ed25519PrivateKey:
    """The key in the file, made when it is not there; of several makers the first one wins."""
    if not path.exists():
        _make(path)
    try:
        return parse(path.read_text("ascii"))
    except (InvalidSigningKey, UnicodeDecodeError):
        raise ImproperlyConfigured(
            f"{path} holds no Ed25519 private key. Put the kept one back; without one, move the"
            " file and checkpoints.jsonl away, and a new key is made."
        ) from None


def _make(path: Path) -> None:
    pem = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
        # Linking is all or nothing: nobody ever reads half a key, and nobody's key is replaced.
        os.link(draft, path)
    except FileExistsError:
        return
    finally:
        draft.unlink()


def _public(pem: str) -> Ed25519PublicKey:
    try:
        key = serialization.load_pem_public_key(pem.encode())
    except Exception as error:  # as above
        raise InvalidSigningKey from error
    if not isinstance(key, Ed25519PublicKey):
        raise InvalidSigningKey
    return key


def _pem(key: Ed25519PublicKey) -> str:
    return key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ).decode("ascii")
