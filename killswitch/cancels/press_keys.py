"""One-use keys: a confirmation carries one, and a press with the same one is the same press."""

import secrets
from collections.abc import Iterable

from django.core import signing

from killswitch.exchanges.models import Exchange

SALT = "killswitch.cancels.key"
MAX_KEY_CHARS = 8000  # characters; everything we make is far shorter
EVERYWHERE = "everywhere"


class InvalidKey(Exception):
    """There is no key, or we did not make it."""


class KeyForAnotherTarget(Exception):
    """We made the key, for another person or another target."""


def target_of(exchanges: Iterable[Exchange], *, everywhere: bool) -> str:
    """What a press is aimed at, as text."""
    if everywhere:
        return EVERYWHERE
    return ",".join(str(pk) for pk in sorted(exchange.pk for exchange in exchanges))


def make(*, user_id: int, target: str) -> str:
    """A new key for this person and this target."""
    return signing.dumps([user_id, target, secrets.token_urlsafe(16)], salt=SALT)


def read(key: str, *, user_id: int, target: str) -> str:
    """The key's nonce, which a press is stored under. Raises `Forged` or `Foreign`."""
    if len(key) > MAX_KEY_CHARS:
        raise InvalidKey
    try:
        whose, what, nonce = signing.loads(key, salt=SALT)
    except (signing.BadSignature, ValueError, TypeError) as error:
        raise InvalidKey from error
    if (whose, what) != (user_id, target):
        raise KeyForAnotherTarget
    return str(nonce)
