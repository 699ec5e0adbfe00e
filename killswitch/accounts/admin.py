"""The admin pages on which administrators add and change users."""

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth.password_validation import (
    password_validators_help_text_html,
    validate_password,
)
from django.core.exceptions import ValidationError
from django.http import HttpRequest

from killswitch.accounts.admin_site import AuditedModelAdmin
from killswitch.accounts.client_info import client_info
from killswitch.accounts.decorators import current_user
from killswitch.accounts.mfa import services as mfa
from killswitch.accounts.models import Role, User
from killswitch.accounts.services import keep_an_administrator, lock_administrators, save_user


def _password_field(label: str, *, help_text: str = "", required: bool = False) -> forms.CharField:
    return forms.CharField(
        label=label,
        required=required,
        strip=False,
        help_text=help_text,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )


class OwnProfileForm(forms.ModelForm):  # type: ignore[type-arg] # not subscriptable when run
    """The administrator's own record: the name only. Another administrator changes the rest."""

    class Meta:
        model = User
        fields = ("full_name",)


class UserForm(forms.ModelForm):  # type: ignore[type-arg] # not subscriptable when run
    """The record of another user, with an optional new password."""

    password1 = _password_field(
        "New password", help_text="Leave both fields empty to keep the current password."
    )
    password2 = _password_field("Repeat new password")
    reset_second_factor: forms.Field | None = forms.BooleanField(
        label="Reset their second factor",
        required=False,
        help_text=(
            "Use this if they have lost it. They can then sign in with their password only, or must"
            " set up a new one if it is required."
        ),
    )

    class Meta:
        model = User
        fields = ("username", "full_name", "role", "is_active")

    def clean(self) -> dict[str, Any]:
        cleaned_data = super().clean() or self.cleaned_data
        password = cleaned_data.get("password1", "")
        if password != cleaned_data.get("password2", ""):
            self.add_error("password2", "The two passwords do not match.")
        elif password:
            # With the names as they are being typed: a password similar to them is refused.
            user = User(
                username=cleaned_data.get("username") or self.instance.username,
                full_name=cleaned_data.get("full_name", ""),
            )
            try:
                validate_password(password, user)
            except ValidationError as error:
                self.add_error("password1", error)
        if self.instance.pk is not None and not self.errors:
            keep_an_administrator(
                User(
                    pk=self.instance.pk,
                    role=cleaned_data["role"],
                    is_active=cleaned_data["is_active"],
                )
            )
        return cleaned_data


class NewUserForm(UserForm):
    """The record of a new user, who needs a password."""

    password1 = _password_field(
        "Password", help_text=password_validators_help_text_html(), required=True
    )
    password2 = _password_field("Repeat password", required=True)
    reset_second_factor = None
    role = forms.ChoiceField(choices=[("", "Select a role"), *Role.choices])

    def clean_username(self) -> str:
        return User.normalize_username(self.cleaned_data["username"])


@admin.register(User)
class UserAdmin(AuditedModelAdmin):
    """Add users, give roles, set passwords, disable accounts; only the name of one's own."""

    list_display = ("username", "full_name", "role", "is_active", "last_login")
    list_filter = ("role", "is_active")
    search_fields = ("username", "full_name")
    ordering = ("username",)

    def lock(self, row: User) -> None:
        """Lock all administrators as well: one of them must remain."""
        lock_administrators(row)
        row.refresh_from_db()

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> tuple[str, ...]:
        if obj is None:
            return ()
        if obj.pk == request.user.pk:
            return ("username", "role", "is_active", "last_login")
        return ("username", "last_login")

    def get_fields(self, request: HttpRequest, obj: User | None = None) -> tuple[str, ...]:
        profile = ("username", "full_name", "role")
        if obj is None:
            return (*profile, "password1", "password2")
        if obj.pk == request.user.pk:
            return (*profile, "is_active", "last_login")
        reset = ("reset_second_factor",) if mfa.is_enabled(obj) else ()
        return (*profile, "is_active", "last_login", "password1", "password2", *reset)

    def get_form(
        self, request: HttpRequest, obj: User | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        if obj is None:
            kwargs["form"] = NewUserForm
        else:
            kwargs["form"] = OwnProfileForm if obj.pk == request.user.pk else UserForm
        return super().get_form(request, obj, change, **kwargs)

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:  # noqa: ARG002
        save_user(
            obj,
            new_password=form.cleaned_data.get("password1", ""),
            reset_second_factor=form.cleaned_data.get("reset_second_factor", False),
            by=current_user(request).actor,
            origin=client_info(request),
        )
