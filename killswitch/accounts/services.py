"""Adds and changes users, each change with its events and its alarm.

A password is hashed before its transaction begins: that takes long, and other writers would wait.
"""

from collections.abc import Mapping
from copy import copy

from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db.models import Q

from killswitch.accounts.changes import Change, actor_text
from killswitch.accounts.mfa import services as mfa
from killswitch.accounts.models import Role, User
from killswitch.accounts.permissions import ROLES, Permission, has_permission
from killswitch.alarms.models import AlarmKind
from killswitch.alarms.services import raise_alarm
from killswitch.audit.actors import Actor
from killswitch.audit.recorder import recording
from killswitch.runtime.compiled_query import CompiledQuery


def add_user(*, username: str, full_name: str = "", role: Role, password: str, by: Actor) -> User:
    """Add a user who can sign in. Raises `ValidationError` and then records no event."""
    user = User(username=User.normalize_username(username), full_name=full_name.strip(), role=role)
    validate_password(password, user)
    password_hash = make_password(password)
    with recording():
        user.full_clean(exclude=["password"])
        save_user(user, password_hash=password_hash, by=by)
    return user


def save_user(  # noqa: PLR0913 - each is a thing that can be changed, or who changes it
    user: User,
    *,
    password_hash: str = "",
    reset_second_factor: bool = False,
    by: Actor,
    origin: Mapping[str, str] | None = None,
    alarm: bool = True,
) -> None:
    """Write a user, new or changed, with the events of the change and its alarm."""
    with recording() as record:
        before = User.objects.select_for_update(no_key=True).filter(pk=user.pk).first()
        change = Change(
            before=before,
            after=user,
            new_password=bool(password_hash),
            second_factor_reset=reset_second_factor and mfa.delete(user),
        )
        columns = change.fields
        if not (columns or change.ends_sessions):
            return
        if password_hash:
            user.password = password_hash
            columns.append("password")
        if before and change.ends_sessions:
            user.session_epoch = before.session_epoch + 1
            columns.append("session_epoch")
        # Only what changed: a sign-in at the same moment writes other columns of the same row.
        user.save(update_fields=columns if before else None)
        record.add(*change.new_events(by=by, origin=origin or {}))
        if alarm and (text := change.alarm_text()):
            raise_alarm(
                kind=AlarmKind.PEOPLE,
                subject=f"{user.pk} {record.revision}",
                title=f"{user.full_text} {text} by {actor_text(by)}.",
            )


def change_own_password(*, user: User, password: str, origin: Mapping[str, str]) -> None:
    """Change the password of the user who asks for it; this raises no alarm."""
    password_hash = make_password(password)
    with recording() as record:
        row = User.objects.select_for_update(no_key=True).get(pk=user.pk)
        before = copy(user)
        before.must_change_password = row.must_change_password
        user.password = password_hash
        user.must_change_password = False
        user.save(update_fields=["password", "must_change_password"])
        change = Change(before=before, after=user, new_password=True)
        record.add(*change.new_events(by=user.actor, origin=origin))


def change_account(
    pk: int,
    *,
    role: Role | None = None,
    is_active: bool | None = None,
    by: Actor,
    origin: Mapping[str, str],
) -> User:
    """Give a user another role, or disable or enable them, and return them as they are now.

    Raises `ValidationError` if no administrator would remain, and `User.DoesNotExist`.
    """
    with recording():
        user = User.objects.get(pk=pk)
        lock_administrators(user)
        user.refresh_from_db()
        user.role = user.role if role is None else role
        user.is_active = user.is_active if is_active is None else is_active
        keep_an_administrator(user)
        save_user(user, by=by, origin=origin)
    return user


def is_only_acknowledger(user: object) -> bool:
    """Return whether a user may acknowledge alarms, and no other user who can sign in may."""
    if not (isinstance(user, User) and has_permission(user, Permission.ACKNOWLEDGE)):
        return False
    others = _other_acknowledgers.rows(user.pk)
    # Demo users can sign in to the demo only.
    return all(is_demo and not settings.DEMO for (is_demo,) in others)


_other_acknowledgers = CompiledQuery(
    lambda pk: (
        User.objects.filter(role__in=sorted(ROLES[Permission.ACKNOWLEDGE]), is_active=True)
        .exclude(pk=pk)
        .order_by()
        .values_list("is_demo")
        .distinct()
    ),
    parameters=1,
)


def lock_administrators(user: User) -> None:
    """Lock the user and all administrators, always in the same order, until the commit."""
    rows = User.objects.filter(Q(role=Role.ADMINISTRATOR) | Q(pk=user.pk)).order_by("pk")
    list(rows.select_for_update(no_key=True))


def keep_an_administrator(user: User) -> None:
    """Raise `ValidationError` if this change would leave no administrator who can sign in."""
    lock_administrators(user)
    if user.role == Role.ADMINISTRATOR and user.is_active:
        return
    others = User.objects.filter(role=Role.ADMINISTRATOR, is_active=True).exclude(pk=user.pk)
    if not settings.DEMO:
        others = others.filter(is_demo=False)  # demo users cannot sign in
    if not others.exists():
        raise ValidationError("This is the last administrator who can sign in. Add another first.")
