"""One-use keys: a confirmation carries one, and two presses with the same key are one press."""

import secrets
from datetime import UTC, datetime

from django.core import signing

SALT = "killswitch.cancels.key"
MAX_KEY_CHARS = 8000  # ours are far shorter


class InvalidKey(Exception):
    """The key is missing, or was not made here."""


class UnusableKey(Exception):
    """The key records nothing now. A press that was recorded with it still has its `nonce`."""

    def __init__(self, nonce: str = "") -> None:
        super().__init__()
        self.nonce = nonce  # "" for a key of another person


class KeyForAnotherTarget(UnusableKey):
    """The key was made here, for another person or another target."""


class KeyExpired(UnusableKey):
    """The key was valid for a limited time, which is over."""


def make(*, user_id: int, target: str, nonce: str = "", valid_until: datetime | None = None) -> str:
    """Return a key for this person and this target: a new one, or another key of the same press.

    Two keys with the same `nonce` are the same press.
    """
    parts: list[object] = [user_id, target, nonce or secrets.token_urlsafe(16)]
    if valid_until is not None:
        parts.append(valid_until.timestamp())
    return signing.dumps(parts, salt=SALT)


def read(key: str, *, user_id: int, target: str) -> str:
    """Return the key's nonce, which identifies the press.

    Raises `InvalidKey`, `KeyForAnotherTarget` and `KeyExpired`.
    """
    if len(key) > MAX_KEY_CHARS:
        raise InvalidKey
    try:
        signed_user_id, signed_target, nonce, *limit = signing.loads(key, salt=SALT)
    except (signing.BadSignature, ValueError, TypeError) as error:
        raise InvalidKey from error
    if signed_user_id != user_id:
        raise KeyForAnotherTarget
    if signed_target != target:
        raise KeyForAnotherTarget(nonce)
    if limit and datetime.now(UTC).timestamp() > limit[0]:
        raise KeyExpired(nonce)
    return str(nonce)
