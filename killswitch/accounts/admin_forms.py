"""The forms on which administrators add and change people."""

from typing import Any

from django import forms
from django.contrib.auth.password_validation import (
    password_validators_help_text_html,
    validate_password,
)
from django.core.exceptions import ValidationError

from killswitch.accounts.models import Role, User
from killswitch.accounts.services import keep_an_administrator


def _password_field(label: str, *, help_text: str = "") -> forms.CharField:
    return forms.CharField(
        label=label,
        required=False,
        strip=False,
        help_text=help_text,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )


class OwnProfileForm(forms.ModelForm):  # type: ignore[type-arg] # not subscriptable when run
    """Somebody's own record: the name only. Role and access are others' to give."""

    class Meta:
        model = User
        fields = ("full_name",)


class PersonForm(forms.ModelForm):  # type: ignore[type-arg] # not subscriptable when run
    """Somebody else's record, with a new password if one is typed."""

    password1 = _password_field(
        "New password", help_text="Leave both fields empty to keep the one they have."
    )
    password2 = _password_field("New password again")
    reset_second_factor: forms.Field | None = forms.BooleanField(
        label="Reset their second factor",
        required=False,
        help_text="For somebody who lost it: signing in then asks for the password only.",
    )

    class Meta:
        model = User
        fields = ("username", "full_name", "role", "is_active")

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        self._check_password(cleaned)
        if self.instance.pk is not None and not self.errors:
            keep_an_administrator(
                User(pk=self.instance.pk, role=cleaned["role"], is_active=cleaned["is_active"])
            )
        return cleaned

    def _check_password(self, cleaned: dict[str, Any]) -> None:
        password = cleaned.get("password1", "")
        if password != cleaned.get("password2", ""):
            self.add_error("password2", "The two passwords are not the same.")
        elif password:
            try:
                validate_password(password, self._described(cleaned))
            except ValidationError as error:
                self.add_error("password1", error)

    def _described(self, cleaned: dict[str, Any]) -> User:
        """The person with what is being typed, so that a password like the name is refused."""
        username = cleaned.get("username") or self.instance.username
        return User(username=username, full_name=cleaned.get("full_name", ""))


class NewPersonForm(PersonForm):
    """Somebody new, who needs a password."""

    password1 = _password_field("Password", help_text=password_validators_help_text_html())
    password2 = _password_field("Password again")
    reset_second_factor = None
    role = forms.ChoiceField(choices=[("", "Choose one"), *Role.choices])

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in ("password1", "password2"):
            self.fields[name].required = True

    def clean_username(self) -> str:
        return User.normalize_username(self.cleaned_data["username"])
