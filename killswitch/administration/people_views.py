"""The people: the list, adding one, and each change of access as an act of its own.

An act asks a question, and for the administrator's own password unless it was given a moment ago.
Administrators change only the name of their own record; another one changes the rest.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.hashers import make_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from killswitch.accounts.client_info import client_info
from killswitch.accounts.decorators import current_user
from killswitch.accounts.mfa import services as mfa
from killswitch.accounts.models import Role, User
from killswitch.accounts.services import change_account, save_user
from killswitch.administration.forms import (
    ROLE_TEXTS,
    NameForm,
    NewUserForm,
    PasswordForm,
    RoleForm,
)
from killswitch.administration.guards import administration, administration_with_password
from killswitch.audit.recorder import recording

SIGNED_OUT = "They are signed out everywhere at once, and an alarm is raised."


@administration
def people(request: HttpRequest) -> HttpResponse:
    """Show all users, those who can no longer sign in as well."""
    context = {
        "people": User.objects.order_by("-is_active", "username"),
        "with_second_factor": mfa.users_with_one(),
        "second_factor_required": settings.SECOND_FACTOR == "required",
    }
    return render(request, "administration/people.html", context)


@administration_with_password
def add(request: HttpRequest) -> HttpResponse:
    """Add a user, who must change the password at the first sign-in."""
    form = NewUserForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        user = form.save(commit=False)
        user.must_change_password = True
        password_hash = make_password(form.cleaned_data["password1"])
        try:
            save_user(user, password_hash=password_hash, **_author(request))
        except IntegrityError:  # added at the same moment, perhaps by a second click
            form.add_error("username", form.fields["username"].error_messages["unique"])
        else:
            messages.success(
                request, f"{user.full_text} can sign in, and must then change the password."
            )
            return redirect("administration_people")
    context = {"form": form, "title": "Add a user", "button": "Add user"}
    return render(request, "administration/person.html", context)


@administration
def change(request: HttpRequest, pk: int) -> HttpResponse:
    """Show the record of a user, with the acts that change it, and change the full name."""
    with recording() if request.method == "POST" else nullcontext():
        user = _find(pk, lock=request.method == "POST")
        form = NameForm(request.POST if request.method == "POST" else None, instance=user)
        if form.is_valid():
            by = current_user(request).actor
            save_user(form.save(commit=False), by=by, origin=client_info(request))
            messages.success(request, f"{user.full_text} was saved.")
            return redirect("administration_people")
    context = {
        "form": form,
        "title": User.objects.get(pk=pk).full_text,
        "button": "Save",
        "person": user,
        "role_text": ROLE_TEXTS[Role(user.role)],
        "is_own": user.pk == current_user(request).pk,
        "has_second_factor": mfa.is_enabled(user),
        "second_factor_required": settings.SECOND_FACTOR == "required",
    }
    return render(request, "administration/person.html", context)


@administration_with_password
def role(request: HttpRequest, pk: int) -> HttpResponse:
    """Give a user another role."""
    user = _find(pk)
    data = request.POST if request.method == "POST" else None
    form = RoleForm(data, initial={"role": user.role})

    def apply() -> None:
        change_account(pk, role=Role(form.cleaned_data["role"]), **_author(request))

    return _act(
        request,
        user,
        form=form,
        apply=apply,
        title=f"Change the role of {user}?",
        text=[SIGNED_OUT],
        button="Change role",
        done=lambda: f"is now {Role(form.cleaned_data['role']).label}",
    )


@administration_with_password
def password(request: HttpRequest, pk: int) -> HttpResponse:
    """Set a new password, which the user must change at the next sign-in."""
    user = _find(pk)
    form = PasswordForm(request.POST if request.method == "POST" else None, user=user)

    def apply() -> None:
        password_hash = make_password(form.cleaned_data["password1"])
        with recording():
            row = _find(pk, lock=True)
            row.must_change_password = True
            save_user(row, password_hash=password_hash, **_author(request))

    return _act(
        request,
        user,
        form=form,
        apply=apply,
        title=f"Set a new password for {user}?",
        text=[SIGNED_OUT, "They must choose a password of their own when they next sign in."],
        button="Set password",
        done=lambda: "has a new password, and must change it at the next sign-in",
    )


@administration_with_password
def second_factor(request: HttpRequest, pk: int) -> HttpResponse:
    """Reset a second factor that was lost."""
    user = _find(pk)
    if not mfa.is_enabled(user):
        messages.info(request, f"{user.full_text} has no second factor to reset.")
        return redirect("change_person", pk)
    is_required = settings.SECOND_FACTOR == "required"
    then = (
        "They must set up a new one when they next sign in."
        if is_required
        else "They can then sign in with their password only, until they set up a new one."
    )

    def apply() -> None:
        with recording():
            save_user(_find(pk, lock=True), reset_second_factor=True, **_author(request))

    return _act(
        request,
        user,
        form=forms.Form(request.POST if request.method == "POST" else None),
        apply=apply,
        title=f"Reset the second factor of {user}?",
        text=[
            "Do this if they have lost it, and only if you are sure who is asking.",
            then,
            SIGNED_OUT,
        ],
        button="Reset second factor",
        done=lambda: "has no second factor any more",
    )


@administration_with_password
def disable(request: HttpRequest, pk: int) -> HttpResponse:
    """Disable an account; it keeps its name in the log for ever."""
    user = _find(pk)
    return _act(
        request,
        user,
        form=forms.Form(request.POST if request.method == "POST" else None),
        apply=lambda: _set_active(request, pk, is_active=False),
        title=f"Disable {user}?",
        text=[
            "They can no longer sign in. Cancels that they have requested continue.",
            SIGNED_OUT,
        ],
        button="Disable account",
        done=lambda: "is disabled and can no longer sign in",
    )


@administration_with_password
def enable(request: HttpRequest, pk: int) -> HttpResponse:
    """Enable an account again."""
    user = _find(pk)
    return _act(
        request,
        user,
        form=forms.Form(request.POST if request.method == "POST" else None),
        apply=lambda: _set_active(request, pk, is_active=True),
        title=f"Enable {user} again?",
        text=[
            f"They can sign in with their password again, as {user.get_role_display()}.",
            "An alarm is raised.",
        ],
        button="Enable account",
        done=lambda: "is enabled and can sign in",
    )


def _set_active(request: HttpRequest, pk: int, *, is_active: bool) -> None:
    change_account(pk, is_active=is_active, **_author(request))


def _act(  # noqa: PLR0913 - each is a part of the page
    request: HttpRequest,
    user: User,
    *,
    form: forms.Form,
    apply: Callable[[], None],
    title: str,
    text: Sequence[str],
    button: str,
    done: Callable[[], str],
) -> HttpResponse:
    """Ask, and then do it; refuse it on the administrator's own record.

    `done` returns what is true of the user afterwards, even if it was true before.
    """
    if user.pk == current_user(request).pk:
        messages.error(request, "Another administrator must do this: it concerns your own account.")
        return redirect("change_person", user.pk)
    if form.is_valid():
        try:
            apply()
        except ValidationError as error:
            form.add_error(None, error)
        else:
            messages.success(request, f"{user.full_text} {done()}.")
            return redirect("change_person", user.pk)
    context = {
        "title": title,
        "text": text,
        "form": form,
        "button": button,
        "back": "change_person",
        "back_pk": user.pk,
        "tab": "people",
    }
    return render(request, "administration/question.html", context)


def _author(request: HttpRequest) -> dict[str, Any]:
    """Return who makes the change, and from where."""
    return {"by": current_user(request).actor, "origin": client_info(request)}


def _find(pk: int, *, lock: bool = False) -> User:
    """Return a user, locked until the commit so that the recorded old values are true."""
    rows = User.objects.select_for_update(no_key=True) if lock else User.objects.all()
    user = rows.filter(pk=pk).first()
    if user is None:
        raise Http404("There is no such user.")
    return user
