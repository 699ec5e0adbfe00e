"""The forms of sign-in, of changing one's password, and of the second factor."""

from typing import Any

from allauth.account.forms import ChangePasswordForm, LoginForm, ReauthenticateForm
from django import forms
from django.http import HttpRequest, HttpResponse

from killswitch.accounts.adapter import fix_end


class OwnPasswordForm(ChangePasswordForm):  # type: ignore[misc]
    """allauth's form, labelled once."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _without_placeholders(self)


class SignInForm(LoginForm):  # type: ignore[misc]
    """allauth's form without "remember me": every session has the same fixed end."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields.pop("remember", None)
        _without_placeholders(self)

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean()
        cleaned["remember"] = False
        return cleaned

    def login(self, request: HttpRequest, redirect_url: str | None = None) -> HttpResponse:
        response: HttpResponse = super().login(request, redirect_url=redirect_url)
        fix_end(request)  # again: allauth has just set its own
        return response


class PasswordAgainForm(ReauthenticateForm):  # type: ignore[misc]
    """allauth's form, labelled once."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["password"].help_text = ""  # nobody resets a password by themselves
        _without_placeholders(self)


class CodeForm(forms.Form):
    """A code of the app, or one of the recovery codes; spaces in it do not matter."""

    code = forms.CharField(
        label="Code",
        max_length=40,
        widget=forms.TextInput(attrs={"autocomplete": "one-time-code", "inputmode": "numeric"}),
    )


class SetUpForm(CodeForm):
    """The first code, which shows that the app has the secret."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["code"].label = "Code that the app shows"


def _without_placeholders(form: forms.Form) -> None:
    for field in form.fields.values():
        field.widget.attrs.pop("placeholder", None)  # the labels say it, and stay
