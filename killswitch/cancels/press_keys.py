"""One-use keys: a confirmation carries one, and two presses with the same key are one press."""

import secrets

from django.core import signing

SALT = "killswitch.cancels.key"
MAX_KEY_CHARS = 8000  # ours are far shorter


class InvalidKey(Exception):
    """The key is missing, or was not made here."""


class KeyForAnotherTarget(Exception):
    """The key was made here, for another person or another target."""


def make(*, user_id: int, target: str) -> str:
    """Return a new key for this person and this target."""
    return signing.dumps([user_id, target, secrets.token_urlsafe(16)], salt=SALT)


def read(key: str, *, user_id: int, target: str) -> str:
    """Return the key's nonce, which identifies the press.

    Raises `InvalidKey` and `KeyForAnotherTarget`.
    """
    if len(key) > MAX_KEY_CHARS:
        raise InvalidKey
    try:
        signed_user_id, signed_target, nonce = signing.loads(key, salt=SALT)
    except (signing.BadSignature, ValueError, TypeError) as error:
        raise InvalidKey from error
    if (signed_user_id, signed_target) != (user_id, target):
        raise KeyForAnotherTarget
    return str(nonce)
