"""Sign-in, sign-out and one's own password; refused attempts get a page and an event."""

from http import HTTPStatus
from typing import Any

from allauth.account.internal.stagekit import clear_login
from allauth.account.stages import LoginStage
from allauth.account.views import LoginView, LogoutView, PasswordChangeView, ReauthenticateView
from django import forms
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.views.decorators.cache import never_cache

from killswitch.accounts import login_events, officer_cookie, redirects
from killswitch.accounts.backends import HashingBusy
from killswitch.accounts.client_info import shares_address
from killswitch.accounts.decorators import public, requires
from killswitch.accounts.forms import ConfirmPasswordForm, OwnPasswordForm, SignInForm
from killswitch.accounts.models import User
from killswitch.accounts.permissions import Permission
from killswitch.accounts.redirects import NEXT_URL_KEY

# The windows of the rate limits in the settings.
ADDRESS_LIMIT_S = 60
METHODS = ["get", "head", "post"]  # Django's form views answer PUT like POST, and OPTIONS
CODES_LIMIT_S = 3600
BUSY_RETRY_AFTER_S = 5


def too_many_attempts(
    request: HttpRequest, *, username: str, of_user: bool = False
) -> HttpResponse:
    """Record an attempt that was refused unread, and return the page with how long to wait.

    `of_user`: the limit of codes of this user is reached, not the limit of the address.
    """
    login_events.record_limited(request, username=username)
    context = {"of_user": of_user, "shares_address": shares_address(request)}
    response = render(request, "429.html", context, status=HTTPStatus.TOO_MANY_REQUESTS)
    response["Retry-After"] = str(CODES_LIMIT_S if of_user else ADDRESS_LIMIT_S)
    return response


class RateLimitedMixin:
    """Turns allauth's refusals of too many attempts into a page and an event."""

    request: HttpRequest
    http_method_names = METHODS

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            response: HttpResponseBase = super().dispatch(request, *args, **kwargs)  # type: ignore[misc]
        except HashingBusy:
            response = render(
                request, "429.html", {"busy": True}, status=HTTPStatus.TOO_MANY_REQUESTS
            )
            response["Retry-After"] = str(BUSY_RETRY_AFTER_S)
            return response
        if response.status_code == HTTPStatus.TOO_MANY_REQUESTS:
            return too_many_attempts(request, username=self.attempted_username())
        return response

    def form_invalid(self, form: forms.Form) -> HttpResponseBase:
        errors = [error for errors in form.errors.as_data().values() for error in errors]
        if any(error.code == "too_many_login_attempts" for error in errors):
            return HttpResponse(status=HTTPStatus.TOO_MANY_REQUESTS)  # `dispatch` makes the page
        response: HttpResponseBase = super().form_invalid(form)  # type: ignore[misc]
        return response

    def attempted_username(self) -> str:
        """Return the name of the user for whom a password was tried."""
        return self.request.user.get_username()


class SignInView(RateLimitedMixin, LoginView):  # type: ignore[misc]
    """Sign in with name and password."""

    form_class = SignInForm

    def attempted_username(self) -> str:
        return self.request.POST.get("login", "")

    def _redirect_to_pending_stage(self, request: HttpRequest, stage: LoginStage) -> None:  # noqa: ARG002
        """Start over when a user comes back here instead of entering their code."""
        clear_login(request)

    def get_authenticated_redirect_url(self) -> str:
        """Return where a user who is signed in already goes: only to a page open to them."""
        user = self.request.user
        url: str = super().get_authenticated_redirect_url()
        if isinstance(user, User) and not redirects.can_open(user, url):
            return redirects.home_url(user)
        return url


class SignOutView(LogoutView):  # type: ignore[misc]
    """Sign out and leave no trace of the user in the browser."""

    http_method_names = METHODS

    def post(self, *args: Any, **kwargs: Any) -> HttpResponseBase:
        response: HttpResponseBase = super().post(*args, **kwargs)
        officer_cookie.forget(response)
        # It holds the reason and the key of a cancel that was never answered, for sending again.
        response["Clear-Site-Data"] = '"storage"'
        return response


class OwnPasswordView(RateLimitedMixin, PasswordChangeView):  # type: ignore[misc]
    """Change one's own password. A wrong current one is recorded like a failed sign-in."""

    form_class = OwnPasswordForm

    def get_default_success_url(self) -> str:
        """Return the page that a password chosen by an administrator has kept closed, if any."""
        user = self.request.user
        if self.was_forced and isinstance(user, User):
            url = self.request.session.pop(NEXT_URL_KEY, "")
            return url if url and redirects.can_open(user, url) else redirects.home_url(user)
        default: str = super().get_default_success_url()
        return default

    def form_valid(self, form: forms.Form) -> HttpResponseBase:
        self.was_forced = getattr(self.request.user, "must_change_password", False)
        response: HttpResponseBase = super().form_valid(form)
        return response

    def form_invalid(self, form: forms.Form) -> HttpResponseBase:
        if form.has_error("oldpassword", code="enter_current_password"):
            login_events.record_failure(self.request, username=self.attempted_username())
        return super().form_invalid(form)


class ConfirmPasswordView(RateLimitedMixin, ReauthenticateView):  # type: ignore[misc]
    """Ask for the password again: the screen may have been left unlocked."""

    form_class = ConfirmPasswordForm


sign_in = public(SignInView.as_view())
sign_out = public(never_cache(SignOutView.as_view()))
change_password = requires(Permission.SIGNED_IN, changes_password=True)(
    never_cache(OwnPasswordView.as_view())
)
confirm_password = requires(Permission.SIGNED_IN, password_suffices=True)(
    never_cache(ConfirmPasswordView.as_view())
)
