"""Adds and changes people: each change with its events, and with the alarm that it deserves."""

from collections.abc import Mapping

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q

from killswitch.accounts.changes import Change
from killswitch.accounts.mfa import services
from killswitch.accounts.models import Role, User
from killswitch.alarms.models import Kind as AlarmKind
from killswitch.alarms.services import raise_alarm
from killswitch.audit.chain import Actor, NewEvent, append
from killswitch.runtime.revisions import next_revision


def add_person(*, username: str, full_name: str = "", role: Role, password: str, by: Actor) -> User:
    """A new person who may sign in. Raises `ValidationError`; then nothing is recorded."""
    person = User(
        username=User.normalize_username(username), full_name=full_name.strip(), role=role
    )
    with transaction.atomic():
        person.full_clean(exclude=["password"])
        validate_password(password, person)
        save_person(person, new_password=password, by=by)
    return person


def save_person(  # noqa: PLR0913 - each is a thing that can be changed, or who changes it
    person: User,
    *,
    new_password: str = "",
    reset_second_factor: bool = False,
    by: Actor,
    origin: Mapping[str, str] | None = None,
    alarm: bool = True,
) -> None:
    """Write a person, new or changed, as the last thing in the transaction."""
    with transaction.atomic():
        before = User.objects.select_for_update(no_key=True).filter(pk=person.pk).first()
        change = Change(
            before=before,
            after=person,
            new_password=bool(new_password),
            second_factor_reset=reset_second_factor and services.forget(person),
        )
        if not (change.fields or change.ends_sessions):
            return
        _write(change, new_password)
        facts = change.facts(by=by, origin=origin or {})
        append(*facts, *(_alarm(change, by=by) if alarm else []))


def change_own_password(*, user: User, password: str, origin: Mapping[str, str]) -> None:
    """A person's own new password: recorded, but nothing that somebody else must look at."""
    by = Actor(name=user.full_text, role=user.role)
    with transaction.atomic():
        User.objects.select_for_update(no_key=True).get(pk=user.pk)
        user.set_password(password)
        user.save(update_fields=["password"])
        change = Change(before=user, after=user, new_password=True)
        append(*change.facts(by=by, origin=origin))


def lock_administrators(person: User) -> None:
    """Hold everybody on whom "one administrator stays" depends, always in the same order."""
    rows = User.objects.filter(Q(role=Role.ADMINISTRATOR) | Q(pk=person.pk)).order_by("pk")
    list(rows.select_for_update(no_key=True))


def keep_an_administrator(person: User) -> None:
    """Raises `ValidationError` if after this change nobody could administer any more."""
    lock_administrators(person)
    stays = person.role == Role.ADMINISTRATOR and person.is_active
    if not stays and not User.objects.able_administrators().exclude(pk=person.pk).exists():
        raise ValidationError("The last administrator who may sign in must stay one.")


def _write(change: Change, new_password: str) -> None:
    person = change.after
    if change.before is None:
        person.set_password(new_password)
        person.save()
        return
    # Only what changed: a sign-in at the same moment writes other columns of the same row.
    columns = change.fields
    if new_password:
        person.set_password(new_password)
        columns = [*columns, "password"]
    if change.ends_sessions:
        person.session_epoch = change.before.session_epoch + 1
        columns = [*columns, "session_epoch"]
    person.save(update_fields=columns)


def _alarm(change: Change, *, by: Actor) -> list[NewEvent]:
    words = change.alarming()
    if not words:
        return []
    revision = next_revision()
    return raise_alarm(
        kind=AlarmKind.PEOPLE,
        subject=f"{change.after.pk} {revision}",
        title=f"{change.after.full_text} {words}",
        detail=f"By {by.name}.",
        revision=revision,
    )
