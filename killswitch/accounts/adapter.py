"""Sign-in as this product needs it: no sign-up, every step recorded, sessions with a fixed end.

The events are recorded here and not from Django's signals: those are sent in the middle of a
change, before its transaction can be completed.
"""

from datetime import timedelta
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.internal.flows.login import get_authentication_records
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import resolve_url
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme

from killswitch.accounts import login_events, officer_cookie, redirects
from killswitch.accounts.backends import HashingBusy
from killswitch.accounts.client_info import address, client_info
from killswitch.accounts.decorators import current_user
from killswitch.accounts.mfa import services as mfa
from killswitch.accounts.models import User
from killswitch.accounts.services import change_own_password
from killswitch.audit.models import EventKind
from killswitch.audit.recorder import recording

WRONG_PASSWORD = "The password is wrong. Try again."  # noqa: S105 - a sentence


def set_fixed_expiry(request: HttpRequest) -> None:
    """Let the session end at a fixed time; the console's polls must not keep it open."""
    request.session.set_expiry(timezone.now() + timedelta(hours=settings.SESSION_HOURS))


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    """allauth's extension points, for a tool to which only administrators add users."""

    error_messages = DefaultAccountAdapter.error_messages | {
        "username_password_mismatch": (
            "The username or password is wrong, or the account is disabled. If it still fails, ask"
            " an administrator."
        ),
        "enter_current_password": WRONG_PASSWORD,
        "incorrect_password": WRONG_PASSWORD,
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:  # noqa: ARG002
        return False

    def is_ajax(self, request: HttpRequest) -> bool:  # noqa: ARG002
        """Answer with pages only: allauth's JSON form would hide a 429 behind a 400."""
        return False

    def is_safe_url(self, url: str) -> bool:
        """Return whether the URL is a path of this site."""
        return url_has_allowed_host_and_scheme(url, allowed_hosts=None)

    def get_client_ip(self, request: HttpRequest) -> str:
        """Return the address for the rate limits; never fail, even with a wrong proxy count."""
        return address(request) or "unknown"

    def authenticate(self, request: HttpRequest, **credentials: Any) -> Any:
        """Do not count an attempt as failed when its password was not checked."""
        try:
            return super().authenticate(request, **credentials)
        except HashingBusy:
            self._rollback_login_failed_rl_usage()
            raise

    def authentication_failed(self, request: HttpRequest, **credentials: Any) -> None:
        login_events.record_failure(request, username=credentials.get("username", ""))

    def get_login_stages(self) -> list[str]:
        return ["killswitch.accounts.mfa.adapter.TotpStage"]

    def get_reauthentication_methods(self, user: Any) -> list[dict[str, str]]:
        """Offer the password only: the phone with the app may lie next to an unlocked screen."""
        if not user.is_authenticated:
            return []
        url = resolve_url("account_reauthenticate")
        return [{"id": "reauthenticate", "description": "Use your password", "url": url}]

    def login(self, request: HttpRequest, user: User) -> None:
        """Begin the session; this comes after the last stage, which checks the second factor."""
        factors = [
            record["type"]
            for record in get_authentication_records(request, user)
            if record["method"] == "mfa"
        ]
        second_factor = {"second_factor": factors[-1]} if factors else {}
        with recording() as record:
            super().login(request, user)
            set_fixed_expiry(request)
            record.event(
                EventKind.SIGNED_IN,
                actor=user.actor,
                data={**client_info(request), **second_factor},
            )

    def logout(self, request: HttpRequest) -> None:
        actor = current_user(request).actor
        with recording() as record:
            super().logout(request)
            record.event(EventKind.SIGNED_OUT, actor=actor, data=client_info(request))

    def set_password(self, user: User, password: str) -> None:
        change_own_password(user=user, password=password, origin=client_info(self.request))

    def post_login(
        self, request: HttpRequest, user: User, *, redirect_url: str | None, **hook: Any
    ) -> HttpResponse:
        """Lead back to where the user came from, unless their role would be refused there."""
        if not (redirect_url and redirects.can_open(user, redirect_url)):
            redirect_url = redirects.home_url(user)
        response: HttpResponse = super().post_login(
            request, user, redirect_url=redirect_url, **hook
        )
        if not (user.must_change_password or mfa.must_set_up(user)):
            officer_cookie.remember_browser(request, response)
        return response

    def get_login_redirect_url(self, request: HttpRequest) -> str:
        return redirects.home_url(current_user(request))
