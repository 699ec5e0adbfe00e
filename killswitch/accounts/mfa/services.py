"""A person's second factor: codes from an app, and ten recovery codes for when it is not at hand.

The rows and the arithmetic are those of allauth.mfa. The changes are made here, each with its
event as the last statement of the same transaction.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import structlog
from allauth.core.internal.cryptokit import compare_user_code
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal import auth as totp
from allauth.mfa.utils import decrypt
from cryptography.fernet import InvalidToken
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from killswitch.accounts.models import User
from killswitch.audit.chain import Actor, NewEvent, append
from killswitch.audit.models import Kind

LAST_STEP = "last_step"  # of the newest code that was taken; no older one is taken after it

log = structlog.get_logger(__name__)


class FactorUsed(StrEnum):
    """What a person showed besides the password."""

    APP = "app"
    RECOVERY_CODE = "recovery code"


def has_one(user: User) -> bool:
    """Whether a code is asked for when this person signs in."""
    return bool(_rows(user).filter(type=Authenticator.Type.TOTP).exists())


def is_missing(user: User) -> bool:
    """Whether this person must set one up before anything else."""
    return settings.SECOND_FACTOR == "required" and not has_one(user)


def add(*, user: User, secret: str, code: str, origin: Mapping[str, str]) -> bool:
    """Begin to ask for codes of this secret; False, and nothing done, if the code is not one.

    All sessions of the person end: they were begun without it.
    """
    step = _step(secret, code)
    if step is None:
        return False
    with transaction.atomic():
        _lock(user)
        if has_one(user):
            return False  # set up in another tab a moment ago, with another secret
        _end_sessions(user)
        app = totp.TOTP.activate(user, secret).instance
        _note_step(app, step)
        RecoveryCodes.activate(user)
        append(_fact(Kind.SECOND_FACTOR_ADDED, user, origin))
    return True


def remove(*, user: User, origin: Mapping[str, str]) -> None:
    """Ask this person for their password only. Their other sessions end."""
    with transaction.atomic():
        _lock(user)
        if forget(user):
            _end_sessions(user)
            append(_fact(Kind.SECOND_FACTOR_REMOVED, user, origin))


def forget(user: User) -> bool:
    """Delete what the person has, in the caller's transaction; False if there was nothing."""
    deleted, _ = _rows(user).delete()
    return bool(deleted)


def renew_recovery_codes(*, user: User, origin: Mapping[str, str]) -> None:
    """Ten new recovery codes; those from before are worth nothing any more."""
    with transaction.atomic():
        _lock(user)
        _rows(user).filter(type=Authenticator.Type.RECOVERY_CODES).delete()
        RecoveryCodes.activate(user)
        append(_fact(Kind.RECOVERY_CODES_RENEWED, user, origin))


def recovery_codes(user: User) -> list[str]:
    """Those that have not been used."""
    row = _rows(user).filter(type=Authenticator.Type.RECOVERY_CODES).first()
    try:
        return list(RecoveryCodes(row).get_unused_codes()) if row else []
    except InvalidToken:
        log.exception("recovery codes cannot be read", person=user.pk)
        return []


def check(*, user: User, code: str, origin: Mapping[str, str]) -> FactorUsed | None:
    """Take a code, which then is used up, or say that it is none.

    The rows are locked: of two people who type the same code at once, one is let in.
    """
    with transaction.atomic():
        rows = {row.type: row for row in _rows(user).select_for_update()}
        try:
            if _takes_app_code(rows.get(Authenticator.Type.TOTP), code):
                return FactorUsed.APP
            if _takes_recovery_code(rows.get(Authenticator.Type.RECOVERY_CODES), code):
                left = {"left": len(recovery_codes(user))}
                append(_fact(Kind.RECOVERY_CODE_USED, user, {**origin, **left}))
                return FactorUsed.RECOVERY_CODE
        except InvalidToken:
            log.exception("second factor cannot be read", person=user.pk)
    return None


def _takes_app_code(row: Any, code: str) -> bool:
    if row is None:
        return False
    step = _step(decrypt(row.data["secret"]), code)
    if step is None or step <= row.data.get(LAST_STEP, 0):
        return False
    _note_step(row, step)
    return True


def _takes_recovery_code(row: Any, code: str) -> bool:
    return row is not None and RecoveryCodes(row).validate_code(code)


def _step(secret: str, code: str) -> int | None:
    """The step of time that a code belongs to, among those near now.

    The app's clock or the typing may be late. allauth remembers a used code for one step in a
    cache, which is shorter than such a code is good for; the number of the step is for ever.
    """
    for step in totp.yield_hotp_counters_from_time():
        expected = totp.format_hotp_value(totp.hotp_value(secret, step))
        if compare_user_code(actual=code, expected=expected):
            return int(step)
    return None


def _note_step(row: Any, step: int) -> None:
    row.data[LAST_STEP] = step
    row.last_used_at = timezone.now()
    row.save(update_fields=["data", "last_used_at"])


def _lock(user: User) -> None:
    """Hold the person, so that two changes come one after the other."""
    user.session_epoch = User.objects.select_for_update(no_key=True).get(pk=user.pk).session_epoch


def _end_sessions(user: User) -> None:
    """Every session but one that is told of the new epoch."""
    user.session_epoch += 1
    user.save(update_fields=["session_epoch"])


def _rows(user: User) -> Any:
    return Authenticator.objects.filter(user_id=user.pk)


def _fact(kind: Kind, user: User, data: Mapping[str, Any]) -> NewEvent:
    by = Actor(name=user.full_text, role=user.role)
    person = {"person": user.full_text, "username": user.username}
    return NewEvent(kind=kind, actor=by, data={**person, **data})
