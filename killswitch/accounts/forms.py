"""The forms of sign-in, of one's own password, and of the second factor."""

from typing import Any

from allauth.account.forms import ChangePasswordForm, LoginForm, ReauthenticateForm
from django import forms
from django.http import HttpRequest, HttpResponse

from killswitch.accounts.adapter import set_fixed_expiry


class FieldWithFocus(forms.BoundField):
    """A field that has the focus if it is the one to type in next."""

    def build_widget_attrs(
        self, attrs: dict[str, Any], widget: forms.Widget | None = None
    ) -> dict[str, Any]:
        attrs = super().build_widget_attrs(attrs, widget)
        if self.name == next_field(self.form):
            attrs["autofocus"] = True
        return attrs


def next_field(form: forms.BaseForm) -> str:
    """Return the name of the field to type in next: the first, or the one to correct."""
    names = list(form.fields)
    wrong = [name for name in names if form.has_error(name)]
    if wrong:
        return wrong[0]
    # A wrong name or password: the password is the one to type again.
    return names[-1] if form.non_field_errors() else names[0]


class WithoutPlaceholders:
    """Removes allauth's placeholders: they repeat the labels."""

    bound_field_class = FieldWithFocus
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
            raise forms.ValidationError("Choose a password that differs from your current one.")
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

    bound_field_class: type[forms.BoundField] = FieldWithFocus
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

    bound_field_class = forms.BoundField  # the focus would scroll past the code to scan
    rejection = "This code is wrong. Enter the next code from the app."

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["code"].label = "Code from the app"
