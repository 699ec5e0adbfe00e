"""The forms of sign-in, of one's own password, and of the second factor."""

from typing import Any

from allauth.account.forms import ChangePasswordForm, LoginForm, ReauthenticateForm
from django import forms
from django.http import HttpRequest, HttpResponse

from killswitch.accounts.adapter import set_fixed_expiry


class WithoutPlaceholders:
    """Removes allauth's placeholders: they repeat the labels."""

    fields: dict[str, forms.Field]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            field.widget.attrs.pop("placeholder", None)


class OwnPasswordForm(WithoutPlaceholders, ChangePasswordForm):  # type: ignore[misc]
    """The user's current password and the new one."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["oldpassword"].label = "Current password"
        self.fields["password1"].label = "New password"
        self.fields["password2"].label = "Repeat new password"

    def clean_password1(self) -> str:
        """Return the new password. Raises `ValidationError` if it is the current one."""
        password: str = self.cleaned_data["password1"]
        if password == self.cleaned_data.get("oldpassword"):
            raise forms.ValidationError("Choose a password that is not your current one.")
        return password

    def clean_password2(self) -> str:
        """Return the repeated password. Raises `ValidationError` if it differs from the new one."""
        password: str = self.cleaned_data["password2"]
        if password != self.cleaned_data.get("password1", password):
            raise forms.ValidationError("The two passwords do not match.")
        return password


class SignInForm(WithoutPlaceholders, LoginForm):  # type: ignore[misc]
    """Name and password; every session has the same fixed end."""

    def login(self, request: HttpRequest, redirect_url: str | None = None) -> HttpResponse:
        response: HttpResponse = super().login(request, redirect_url=redirect_url)
        set_fixed_expiry(request)  # again: allauth has just set its own
        return response


class ConfirmPasswordForm(WithoutPlaceholders, ReauthenticateForm):  # type: ignore[misc]
    """The password of the user who is signed in."""


class CodeForm(forms.Form):
    """A code of the app, or a recovery code; spaces in it are ignored."""

    code = forms.CharField(
        label="Code",
        max_length=40,
        widget=forms.TextInput(attrs={"autocomplete": "one-time-code", "inputmode": "numeric"}),
    )
    rejection = (
        "This code is wrong or has already been used. Enter the next code from the app, or another"
        " recovery code."
    )

    def reject_code(self) -> None:
        """Add the error of a wrong code, unless the form has another one."""
        if not self.errors:
            self.add_error("code", self.rejection)


class SetUpForm(CodeForm):
    """The first code of an app, which proves that it has the secret."""

    rejection = "This code is wrong. Enter the next code from the app."

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["code"].label = "Code from the app"
