"""Sign-in as this product wants it: closed, recorded, with sessions that have a fixed end.

The events are written here and not from Django's signals: a signal comes in the middle of the
change, and an event is the last statement of the transaction that it belongs to.
"""

from datetime import timedelta
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.internal.flows.login import get_authentication_records
from django.conf import settings
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import resolve_url
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme

from killswitch.accounts import login_events, officer_cookie, redirects
from killswitch.accounts.client_info import address, client_info
from killswitch.accounts.decorators import actor
from killswitch.accounts.models import User
from killswitch.accounts.password_queue import HashingBusy
from killswitch.accounts.services import change_own_password
from killswitch.audit.chain import NewEvent, append
from killswitch.audit.models import Kind

SHOWN_MESSAGES = {"account/messages/password_changed.txt"}


def fix_end(request: HttpRequest) -> None:
    """A session ends at a fixed time, however busy it is; polls must not keep it open."""
    request.session.set_expiry(timezone.now() + timedelta(hours=settings.SESSION_HOURS))


def _shown_besides_password(request: HttpRequest, user: User) -> dict[str, str]:
    records = get_authentication_records(request, user)
    shown = [record["type"] for record in records if record["method"] == "mfa"]
    return {"second_factor": shown[-1]} if shown else {}


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    """allauth's questions, answered for a tool that nobody joins by themselves."""

    error_messages = DefaultAccountAdapter.error_messages | {
        "username_password_mismatch": (
            "This name and this password do not belong together, or the person may not sign in."
        ),
        "enter_current_password": "This is not your current password.",
        "incorrect_password": "This is not your password.",
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:  # noqa: ARG002
        return False

    def is_ajax(self, request: HttpRequest) -> bool:  # noqa: ARG002
        """One shape of answer: pages. The JSON form would hide the 429 behind a 400."""
        return False

    def is_safe_url(self, url: str) -> bool:
        """Paths of this site only."""
        return url_has_allowed_host_and_scheme(url, allowed_hosts=None)

    def get_client_ip(self, request: HttpRequest) -> str:
        """Limits count by this; a wrong number of proxies must not end in an error page."""
        return address(request) or "unknown"

    def authenticate(self, request: HttpRequest, **credentials: Any) -> Any:
        """Who was asked to try again because others were signing in has not failed."""
        try:
            return super().authenticate(request, **credentials)
        except HashingBusy:
            self._rollback_login_failed_rl_usage()
            raise

    def authentication_failed(self, request: HttpRequest, **credentials: Any) -> None:
        login_events.record_failure(request, username=credentials.get("username", ""))

    def get_login_stages(self) -> list[str]:
        return ["killswitch.accounts.login_stages.TotpStage"]

    def get_reauthentication_methods(self, user: Any) -> list[dict[str, str]]:
        """By password only: the code is for who does not sit at this person's screen."""
        if not user.is_authenticated:
            return []
        url = resolve_url("account_reauthenticate")
        return [{"id": "reauthenticate", "description": "Use your password", "url": url}]

    def login(self, request: HttpRequest, user: User) -> None:
        """Comes after the last stage: whoever has a second factor has shown it."""
        data = {**client_info(request), **_shown_besides_password(request, user)}
        with transaction.atomic():
            super().login(request, user)
            fix_end(request)
            append(NewEvent(kind=Kind.SIGNED_IN, actor=actor(user), data=data))

    def logout(self, request: HttpRequest) -> None:
        user: Any = request.user
        who = actor(user)
        with transaction.atomic():
            super().logout(request)
            append(NewEvent(kind=Kind.SIGNED_OUT, actor=who, data=client_info(request)))

    def set_password(self, user: User, password: str) -> None:
        change_own_password(user=user, password=password, origin=client_info(self.request))

    def post_login(
        self, request: HttpRequest, user: User, *, redirect_url: str | None, **hook: Any
    ) -> HttpResponse:
        """Back to where they came from, unless their role would be refused there."""
        if not (redirect_url and redirects.can_open(user, redirect_url)):
            redirect_url = redirects.home_url(user)
        response: HttpResponse = super().post_login(
            request, user, redirect_url=redirect_url, **hook
        )
        officer_cookie.remember_browser(request, response)
        return response

    def get_login_redirect_url(self, request: HttpRequest) -> str:
        user: Any = request.user
        return redirects.home_url(user)

    def respond_user_inactive(self, request: HttpRequest, user: User) -> HttpResponse:  # noqa: ARG002
        """Unreachable with our backend; if another one is added, it ends at sign-in."""
        return HttpResponseRedirect(resolve_url("account_login"))

    def add_message(
        self,
        request: HttpRequest,
        level: int,
        message_template: str | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """That somebody signed in is plain to see; such messages would only pile up."""
        if message_template in SHOWN_MESSAGES:
            super().add_message(request, level, message_template, *args, **kwargs)
