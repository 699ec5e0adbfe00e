"""The sign-in form."""

from typing import Any

from allauth.account.forms import LoginForm
from django.http import HttpRequest, HttpResponse

from killswitch.accounts.adapter import fix_end


class SignInForm(LoginForm):  # type: ignore[misc]
    """allauth's form without "remember me": every session has the same fixed end."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields.pop("remember", None)
        for field in self.fields.values():
            field.widget.attrs.pop("placeholder", None)  # the labels say it, and stay

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean()
        cleaned["remember"] = False
        return cleaned

    def login(self, request: HttpRequest, redirect_url: str | None = None) -> HttpResponse:
        response: HttpResponse = super().login(request, redirect_url=redirect_url)
        fix_end(request)  # again: allauth has just set its own
        return response
