"""Sign-in, with the refusals that allauth makes turned into words and events."""

from http import HTTPStatus
from typing import Any

from allauth.account.internal.stagekit import clear_login
from allauth.account.stages import LoginStage
from allauth.account.views import LoginView, LogoutView, PasswordChangeView, ReauthenticateView
from django import forms
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import render
from django.views.decorators.cache import never_cache

from killswitch.accounts import login_events, officer_cookie, rate_limit_responses, redirects
from killswitch.accounts.decorators import password_suffices, public, signed_in
from killswitch.accounts.forms import OwnPasswordForm, PasswordAgainForm, SignInForm
from killswitch.accounts.models import User
from killswitch.accounts.password_queue import HashingBusy


class RateLimitedMixin:
    """Says in words that there were too many tries, and leaves an event."""

    request: HttpRequest

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            response: HttpResponseBase = super().dispatch(request, *args, **kwargs)  # type: ignore[misc]
        except HashingBusy:
            return rate_limit_responses.busy(request)
        if response.status_code == HTTPStatus.TOO_MANY_REQUESTS:
            rate_limit_responses.record_and_set_retry_after(
                request, response, username=self.typed_name()
            )
        return response

    def form_invalid(self, form: forms.Form) -> HttpResponseBase:
        errors = [error for each in form.errors.as_data().values() for error in each]
        if any(error.code == "too_many_login_attempts" for error in errors):
            return render(self.request, "429.html", status=HTTPStatus.TOO_MANY_REQUESTS)
        response: HttpResponseBase = super().form_invalid(form)  # type: ignore[misc]
        return response

    def typed_name(self) -> str:
        """Whose password was tried."""
        raise NotImplementedError


class SignInView(RateLimitedMixin, LoginView):  # type: ignore[misc]
    """Sign in by name and password."""

    form_class = SignInForm

    def typed_name(self) -> str:
        return self.request.POST.get("login", "")

    def _redirect_to_pending_stage(self, request: HttpRequest, stage: LoginStage) -> None:  # noqa: ARG002
        """Whoever comes here again, with the code still to be given, begins again."""
        clear_login(request)

    def get_authenticated_redirect_url(self) -> str:
        """Whoever is signed in already goes where they may go."""
        user: Any = self.request.user
        url: str = super().get_authenticated_redirect_url()
        if isinstance(user, User) and not redirects.can_open(user, url):
            return redirects.home_url(user)
        return url


class SignOutView(LogoutView):  # type: ignore[misc]
    """Sign out, and leave nothing of the person in the browser."""

    def post(self, *args: Any, **kwargs: Any) -> HttpResponseBase:
        response: HttpResponseBase = super().post(*args, **kwargs)
        officer_cookie.forget(response)
        # The reason and the key of a press that had no answer wait there, to be sent again.
        response["Clear-Site-Data"] = '"storage"'
        return response


class OwnPasswordView(RateLimitedMixin, PasswordChangeView):  # type: ignore[misc]
    """A new password for oneself. A wrong old one is a guess, and recorded like one."""

    form_class = OwnPasswordForm

    def form_invalid(self, form: forms.Form) -> HttpResponseBase:
        if form.has_error("oldpassword", code="enter_current_password"):
            login_events.record_failure(self.request, username=self.typed_name())
        return super().form_invalid(form)

    def typed_name(self) -> str:
        return self.request.user.get_username()


class PasswordAgainView(RateLimitedMixin, ReauthenticateView):  # type: ignore[misc]
    """The password once more, before something that whoever found the screen open must not do."""

    form_class = PasswordAgainForm

    def typed_name(self) -> str:
        return self.request.user.get_username()


sign_in = public(SignInView.as_view())
sign_out = public(never_cache(SignOutView.as_view()))
change_password = signed_in(never_cache(OwnPasswordView.as_view()))
password_again = password_suffices(never_cache(PasswordAgainView.as_view()))
