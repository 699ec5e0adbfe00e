"""Signs heads and manifests with Ed25519, and checks such signatures.

The key comes from AUDIT_SIGNING_KEY. Without it, the embedded database has a key in a file next to
it, which is made on first use; with a configured database signing is off, and every signature is
empty.
"""

import base64
import hashlib
from functools import cache, lru_cache
from pathlib import Path

import structlog
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from killswitch.runtime.files import read_or_create

KEY_FILE = "audit_signing_key.pem"
KEY_ID_CHARS = 16

log = structlog.get_logger(__name__)


class InvalidSigningKey(ValueError):
    """This text is not an Ed25519 key of the expected kind."""


def public_key_pem() -> str:
    """Return the public key for independent checks, empty when signing is off."""
    key = _key()
    return encode_public_key(key.public_key()) if key else ""


def public_key_pem_if_made() -> str:
    """Return the public key, but create no key file: verifying must not write one."""
    is_configured = settings.AUDIT_SIGNING_KEY or settings.DATABASE_URL
    return public_key_pem() if is_configured or _key_file().exists() else ""


def key_id(public_pem: str | None = None) -> str:
    """Return the short name of a public key, by default our own; empty when signing is off.

    It is the first 16 hexadecimal digits of SHA-256 over the key as `openssl pkey -pubin -outform
    DER` writes it.
    """
    pem = public_key_pem() if public_pem is None else public_pem
    if not pem:
        return ""
    der = _public(pem).public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return hashlib.sha256(der).hexdigest()[:KEY_ID_CHARS]


def sign(data: bytes) -> str:
    """Return the signature in base64, empty when signing is off."""
    key = _key()
    return base64.b64encode(key.sign(data)).decode("ascii") if key else ""


def verify(data: bytes, signature: str, public_pem: str) -> bool:
    """Return whether this key made this signature over these bytes; False if either is invalid."""
    try:
        _public(public_pem).verify(base64.b64decode(signature, validate=True), data)
    except (InvalidSignature, ValueError):
        return False
    return True


def check_setting(text: str) -> None:
    """Raise `ImproperlyConfigured` if the text of AUDIT_SIGNING_KEY is not a key."""
    try:
        parse(text)
    except InvalidSigningKey:
        raise ImproperlyConfigured(
            "AUDIT_SIGNING_KEY is not an Ed25519 private key. Set it to what `openssl genpkey"
            " -algorithm ed25519` prints (line breaks may be written as \\n), or its 32 bytes in"
            " base64."
        ) from None


def parse(text: str) -> Ed25519PrivateKey:
    """Return a private key from PEM or from 32 bytes in base64. Raises `InvalidSigningKey`."""
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
        _warn_once_that_it_is_off()
        return None
    return _from_file(_key_file())


def _key_file() -> Path:
    return Path(settings.KILLSWITCH_HOME) / KEY_FILE


_parsed = cache(parse)


@cache
def _warn_once_that_it_is_off() -> None:
    log.warning(
        "audit_signing_is_off",
        hint="AUDIT_SIGNING_KEY is not set: checkpoints and exports carry no signature.",
    )


@cache
def _from_file(path: Path) -> Ed25519PrivateKey:
    try:
        return parse(read_or_create(path, _new_pem).decode("ascii"))
    except (InvalidSigningKey, UnicodeDecodeError):
        raise ImproperlyConfigured(
            f"{path} is not an Ed25519 private key. Restore the file. If you have no copy,"
            " move it and checkpoints.jsonl away; a new key is then created."
        ) from None


def _new_pem() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


@lru_cache(16)
def _public(pem: str) -> Ed25519PublicKey:
    try:
        key = serialization.load_pem_public_key(pem.encode())
    except Exception as error:  # as in `parse`
        raise InvalidSigningKey from error
    if not isinstance(key, Ed25519PublicKey):
        raise InvalidSigningKey
    return key


def encode_public_key(key: Ed25519PublicKey) -> str:
    """Return the PEM of a public key."""
    return key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ).decode("ascii")
