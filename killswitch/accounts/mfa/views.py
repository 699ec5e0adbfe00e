"""The pages of the second factor: the code at sign-in, setting it up, its recovery codes."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from allauth.account.internal.decorators import login_stage_required
from allauth.account.internal.flows.login import record_authentication
from allauth.account.internal.flows.reauthentication import is_reauthentication_required
from allauth.mfa.adapter import get_adapter
from allauth.mfa.totp.internal.auth import generate_totp_secret
from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render, resolve_url
from django.utils.http import urlencode
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from killswitch.accounts import login_events, redirects
from killswitch.accounts.client_info import client_info
from killswitch.accounts.decorators import password_suffices, public, signed_in
from killswitch.accounts.forms import CodeForm, SetUpForm
from killswitch.accounts.login_stages import TotpStage
from killswitch.accounts.mfa import rate_limit, services
from killswitch.accounts.models import User
from killswitch.accounts.rate_limit_responses import too_many

SECRET = "second_factor.secret"  # noqa: S105 - where a sealed one waits while it is set up

View = Callable[[HttpRequest], HttpResponse]
asks_and_takes = require_http_methods(["GET", "HEAD", "POST"])


def recent_password(view: View) -> View:
    """Ask for the password first, unless it was asked for a moment ago.

    allauth would keep what was posted and do it after the password, hours later perhaps, and
    whoever had sent it. Here nothing is done by giving a password: the page asks anew.
    """

    @wraps(view)
    def guarded(request: HttpRequest) -> HttpResponse:
        if not is_reauthentication_required(request, app="allauth.mfa"):
            return view(request)
        back = urlencode({"next": request.path})
        return HttpResponseRedirect(f"{resolve_url('account_reauthenticate')}?{back}")

    return guarded


def after_password(view: View) -> View:
    """Only for who has given a right password and is not signed in yet."""
    guarded: View = login_stage_required(stage=TotpStage.key, redirect_urlname="account_login")(
        view
    )
    return guarded


@public
@asks_and_takes
@after_password
def enter_code(request: HttpRequest) -> HttpResponse:
    """The second half of signing in; without the first half of a moment ago it leads there."""
    stage = request._login_stage  # type: ignore[attr-defined] # allauth keeps it there
    if not stage.still_stands():
        return stage.abort()  # type: ignore[no-any-return]
    if request.method != "POST":
        return _ask(request, CodeForm())
    try:
        tries = rate_limit.consume_attempt(request, stage.login.user)
    except rate_limit.TooManyAttempts as error:
        username = stage.login.user.username
        return too_many(request, username=username, of_person=error.of_person)
    form = CodeForm(request.POST)
    proof = form.is_valid() and services.check(
        user=stage.login.user, code=form.cleaned_data["code"], origin=client_info(request)
    )
    if not proof:
        return _wrong_code(request, form, stage.login.user)
    for each in tries:
        each.rollback()
    record_authentication(request, stage.login.user, "mfa", type=str(proof))
    return stage.exit()  # type: ignore[no-any-return]


@signed_in
@require_safe
@never_cache
def overview(request: HttpRequest) -> HttpResponse:
    """Whether it is on, and what can be done about it."""
    user = _person(request)
    context = {
        "on": services.has_one(user),
        "left": len(services.recovery_codes(user)),
        "back": redirects.home_url(user),
    }
    return render(request, "mfa/overview.html", context)


@password_suffices
@asks_and_takes
@never_cache
@recent_password
def set_up(request: HttpRequest) -> HttpResponse:
    """A new secret each time the page is asked for; it is kept when a code of it was shown."""
    user = _person(request)
    if services.has_one(user):
        return redirect("mfa_index")
    secret = _waiting_secret(request) if request.method == "POST" else ""
    if not secret:
        return _show_secret(request, SetUpForm(), _new_secret(request))
    form = SetUpForm(request.POST)
    if form.is_valid() and services.add(
        user=user, secret=secret, code=form.cleaned_data["code"], origin=client_info(request)
    ):
        return _has_set_up(request, user)
    _say_wrong(form)
    return _show_secret(request, form, secret)


@signed_in
@asks_and_takes
@never_cache
@recent_password
def turn_off(request: HttpRequest) -> HttpResponse:
    """Asks first."""
    user = _person(request)
    if not services.has_one(user):
        return redirect("mfa_index")
    if request.method != "POST":
        return render(request, "mfa/turn_off.html")
    services.remove(user=user, origin=client_info(request))
    update_session_auth_hash(request, user)
    messages.success(request, "Your second factor is off. Signing in asks for your password only.")
    return redirect("mfa_index")


@signed_in
@require_safe
@never_cache
@recent_password
def recovery_codes(request: HttpRequest) -> HttpResponse:
    """Those that are left, to be printed or kept in a file."""
    user = _person(request)
    if not services.has_one(user):
        return redirect("mfa_index")
    context = {"codes": services.recovery_codes(user), "back": redirects.next_url(request)}
    return render(request, "mfa/recovery_codes.html", context)


@signed_in
@require_safe
@never_cache
@recent_password
def recovery_codes_file(request: HttpRequest) -> HttpResponse:
    """The same as a file of text, one a line."""
    codes = services.recovery_codes(_person(request))
    if not codes:
        raise Http404("There are no recovery codes.")
    text = "".join(f"{code}\n" for code in codes)
    response = HttpResponse(text, content_type="text/plain; charset=utf-8")
    response["Content-Disposition"] = 'attachment; filename="recovery-codes.txt"'
    return response


@signed_in
@asks_and_takes
@never_cache
@recent_password
def renew_recovery_codes(request: HttpRequest) -> HttpResponse:
    """Asks first: the old ones, on paper somewhere, are void afterwards."""
    user = _person(request)
    if not services.has_one(user):
        return redirect("mfa_index")
    if request.method != "POST":
        return render(request, "mfa/renew.html")
    services.renew_recovery_codes(user=user, origin=client_info(request))
    messages.success(request, "These are your new recovery codes. The old ones are void.")
    return redirect("mfa_view_recovery_codes")


def _ask(request: HttpRequest, form: CodeForm) -> HttpResponse:
    return render(request, "mfa/code.html", {"form": form})


def _wrong_code(request: HttpRequest, form: CodeForm, person: User) -> HttpResponse:
    login_events.record_wrong_code(request, person=person)
    _say_wrong(form)
    return _ask(request, form)


def _say_wrong(form: CodeForm) -> None:
    if not form.errors:
        form.add_error("code", "This code is not right, or has been used. Wait for the next one.")


def _waiting_secret(request: HttpRequest) -> str:
    sealed = request.session.get(SECRET, "")
    return str(get_adapter().decrypt(sealed)) if sealed else ""


def _new_secret(request: HttpRequest) -> str:
    secret: str = generate_totp_secret()
    request.session[SECRET] = get_adapter().encrypt(secret)
    return secret


def _show_secret(request: HttpRequest, form: SetUpForm, secret: str) -> HttpResponse:
    adapter = get_adapter()
    qr = adapter.build_totp_svg(adapter.build_totp_url(request.user, secret))
    groups = " ".join(secret[at : at + 4] for at in range(0, len(secret), 4))
    missing = services.is_missing(_person(request))
    context = {"form": form, "qr": qr, "secret": groups, "missing": missing}
    return render(request, "mfa/set_up.html", context)


def _has_set_up(request: HttpRequest, user: User) -> HttpResponseRedirect:
    request.session.pop(SECRET, None)
    update_session_auth_hash(request, user)
    messages.success(request, "Your second factor is on. Keep these codes before you go on.")
    back = redirects.pop_next(request)
    response: Any = redirect("mfa_view_recovery_codes")
    if back:
        response["Location"] += f"?{urlencode({'next': back})}"
    return response  # type: ignore[no-any-return]


def _person(request: HttpRequest) -> User:
    """Who is asking; the guards above have made sure that it is a person."""
    user: Any = request.user
    return user  # type: ignore[no-any-return]
