"""Sign-in, with the refusals that allauth makes turned into words and events."""

from http import HTTPStatus
from typing import Any

from allauth.account.views import LoginView, LogoutView, PasswordChangeView
from django.core.exceptions import NON_FIELD_ERRORS
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import render

from killswitch.accounts import sign_in_events, way_back
from killswitch.accounts.forms import OwnPasswordForm, SignInForm
from killswitch.accounts.models import User
from killswitch.accounts.permissions import public, signed_in

WAIT = 60  # seconds, the window of the limits in the settings


class SignInView(LoginView):  # type: ignore[misc]
    """Sign in by name and password."""

    form_class = SignInForm

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        response: HttpResponseBase = super().dispatch(request, *args, **kwargs)
        if response.status_code == HTTPStatus.TOO_MANY_REQUESTS:
            sign_in_events.record_limited(request, username=request.POST.get("login", ""))
            response["Retry-After"] = str(WAIT)
        return response

    def form_invalid(self, form: SignInForm) -> HttpResponseBase:
        if form.has_error(NON_FIELD_ERRORS, code="too_many_login_attempts"):
            return render(self.request, "429.html", status=HTTPStatus.TOO_MANY_REQUESTS)
        response: HttpResponseBase = super().form_invalid(form)
        return response

    def get_authenticated_redirect_url(self) -> str:
        """Whoever is signed in already goes where they may go."""
        user: Any = self.request.user
        url: str = super().get_authenticated_redirect_url()
        if isinstance(user, User) and not way_back.may_open(user, url):
            return way_back.landing(user)
        return url


sign_in = public(SignInView.as_view())
sign_out = public(LogoutView.as_view())
change_password = signed_in(PasswordChangeView.as_view(form_class=OwnPasswordForm))
