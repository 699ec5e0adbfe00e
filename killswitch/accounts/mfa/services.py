"""A user's second factor: codes from an app, and ten recovery codes for a lost phone.

The rows and the arithmetic are those of allauth.mfa. The changes are made here, each recorded in
its own transaction.
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
from django.utils import timezone

from killswitch.accounts.models import User
from killswitch.audit.models import EventKind
from killswitch.audit.recorder import Recording, recording

LAST_STEP = "last_step"  # the time step of the newest code accepted; older codes are refused

log = structlog.get_logger(__name__)


class FactorUsed(StrEnum):
    """What a user entered in addition to the password."""

    APP = "app"
    RECOVERY_CODE = "recovery code"


def is_enabled(user: User) -> bool:
    """Return whether this user needs a code to sign in."""
    return bool(_rows(user).filter(type=Authenticator.Type.TOTP).exists())


def users_with_one() -> set[int]:
    """Return the row numbers of all users who need a code to sign in."""
    rows = Authenticator.objects.filter(type=Authenticator.Type.TOTP)
    return set(rows.values_list("user_id", flat=True))


def must_set_up(user: User) -> bool:
    """Return whether this user must set up a second factor before anything else."""
    return settings.SECOND_FACTOR == "required" and not is_enabled(user)


def enable(*, user: User, secret: str, code: str, origin: Mapping[str, str]) -> bool:
    """Require codes of this secret from now on; return False, unchanged, for a wrong code.

    Ends all sessions of the user: they began without a second factor.
    """
    time_step = _matching_time_step(secret, code)
    if time_step is None:
        return False
    with recording() as record:
        _lock(user)
        if is_enabled(user):
            return False  # another tab has just set it up with another secret
        _end_sessions(user)
        _store_time_step(totp.TOTP.activate(user, secret).instance, time_step)
        RecoveryCodes.activate(user)
        _record(record, EventKind.SECOND_FACTOR_ADDED, user, origin)
    return True


def disable(*, user: User, origin: Mapping[str, str]) -> None:
    """Require the password only from now on. Ends all sessions of the user."""
    with recording() as record:
        _lock(user)
        if delete(user):
            _end_sessions(user)
            _record(record, EventKind.SECOND_FACTOR_REMOVED, user, origin)


def delete(user: User) -> bool:
    """Delete the second factor in the caller's transaction; return whether there was one."""
    count, _ = _rows(user).delete()
    return bool(count)


def renew_recovery_codes(*, user: User, origin: Mapping[str, str]) -> None:
    """Make ten new recovery codes; the old ones become invalid."""
    with recording() as record:
        _lock(user)
        _rows(user).filter(type=Authenticator.Type.RECOVERY_CODES).delete()
        RecoveryCodes.activate(user)
        _record(record, EventKind.RECOVERY_CODES_RENEWED, user, origin)


def unused_recovery_codes(user: User) -> list[str]:
    """Return the recovery codes that are left, none if they cannot be decrypted."""
    row = _rows(user).filter(type=Authenticator.Type.RECOVERY_CODES).first()
    try:
        return list(RecoveryCodes(row).get_unused_codes()) if row else []
    except InvalidToken:
        log.exception("recovery codes cannot be read", user=user.pk)
        return []


def use_code(*, user: User, code: str, origin: Mapping[str, str]) -> FactorUsed | None:
    """Use up a code and return which kind it was, None for a wrong or used one.

    The user is locked: of two sign-ins with the same code at once, only one succeeds.
    """
    with recording() as record:
        _lock(user)
        rows = {row.type: row for row in _rows(user)}
        try:
            if app := rows.get(Authenticator.Type.TOTP):
                time_step = _matching_time_step(decrypt(app.data["secret"]), code)
                if time_step is not None and time_step > app.data.get(LAST_STEP, 0):
                    _store_time_step(app, time_step)
                    return FactorUsed.APP
            recovery = rows.get(Authenticator.Type.RECOVERY_CODES)
            if recovery and RecoveryCodes(recovery).validate_code(code):
                codes_left = {"left": len(unused_recovery_codes(user))}
                _record(record, EventKind.RECOVERY_CODE_USED, user, {**origin, **codes_left})
                return FactorUsed.RECOVERY_CODE
        except InvalidToken:
            log.exception("second factor cannot be read", user=user.pk)
    return None


def _matching_time_step(secret: str, code: str) -> int | None:
    """Return the time step that a code belongs to, of those close to now.

    The app's clock may be wrong, and typing takes time. allauth remembers a used code in a cache
    for one step, but accepts it for longer; we store the number of the step instead.
    """
    for time_step in totp.yield_hotp_counters_from_time():
        right_code = totp.format_hotp_value(totp.hotp_value(secret, time_step))
        if compare_user_code(actual=code, expected=right_code):
            return int(time_step)
    return None


def _store_time_step(app: Any, time_step: int) -> None:
    app.data[LAST_STEP] = time_step
    app.last_used_at = timezone.now()
    app.save(update_fields=["data", "last_used_at"])


def _lock(user: User) -> None:
    """Lock the user's row, so that changes are made one after the other."""
    row = User.objects.select_for_update(no_key=True).get(pk=user.pk)
    user.session_epoch = row.session_epoch


def _end_sessions(user: User) -> None:
    """End every session except one that is then given the user's new session hash."""
    user.session_epoch += 1
    user.save(update_fields=["session_epoch"])


def _rows(user: User) -> Any:
    return Authenticator.objects.filter(user_id=user.pk)


def _record(record: Recording, kind: EventKind, user: User, data: Mapping[str, Any]) -> None:
    identity = {"person": user.full_text, "username": user.username}
    record.event(kind, actor=user.actor, data={**identity, **data})
