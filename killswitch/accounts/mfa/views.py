"""The pages of the second factor: the code at sign-in, setting it up, its recovery codes."""

from collections.abc import Callable
from functools import wraps

from allauth.account.internal.decorators import login_stage_required
from allauth.account.internal.flows.login import record_authentication
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
from killswitch.accounts.decorators import current_user, public, recent_password, requires
from killswitch.accounts.forms import CodeForm, SetUpForm
from killswitch.accounts.mfa import services as mfa
from killswitch.accounts.mfa.adapter import TotpStage
from killswitch.accounts.mfa.rate_limit import TooManyAttempts, consume_attempt
from killswitch.accounts.permissions import Permission
from killswitch.accounts.views import too_many_attempts

SECRET_KEY = "second_factor.secret"  # noqa: S105 - of the session, which holds it encrypted

View = Callable[[HttpRequest], HttpResponse]
page_with_form = require_http_methods(["GET", "HEAD", "POST"])


def with_second_factor(view: View) -> View:
    """Open a view to users with a second factor; lead others to the overview."""

    @wraps(view)
    def guarded(request: HttpRequest) -> HttpResponse:
        return view(request) if mfa.is_enabled(current_user(request)) else redirect("mfa_index")

    return guarded


@public
@page_with_form
@login_stage_required(stage=TotpStage.key, redirect_urlname="account_login")  # type: ignore[untyped-decorator]
def enter_code(request: HttpRequest) -> HttpResponse:
    """Check the code, the second step of signing in, after the password."""
    stage = request._login_stage  # type: ignore[attr-defined] # allauth sets it
    if not stage.is_current():
        return stage.abort()  # type: ignore[no-any-return]
    form = CodeForm()
    if request.method == "POST":
        user = stage.login.user
        try:
            attempts = consume_attempt(request, user)
        except TooManyAttempts as error:
            return too_many_attempts(request, username=user.username, of_user=error.of_user)
        form = CodeForm(request.POST)
        factor = form.is_valid() and mfa.use_code(
            user=user, code=form.cleaned_data["code"], origin=client_info(request)
        )
        if factor:
            for attempt in attempts:
                attempt.rollback()
            record_authentication(request, user, "mfa", type=str(factor))
            return stage.exit()  # type: ignore[no-any-return]
        login_events.record_failed_attempt(request, reason=login_events.WRONG_CODE, user=user)
        form.reject_code()
    return render(request, "mfa/code.html", {"form": form})


@requires(Permission.SIGNED_IN)
@require_safe
@never_cache
def overview(request: HttpRequest) -> HttpResponse:
    """Show whether the second factor is on, and what can be changed."""
    user = current_user(request)
    context = {
        "is_enabled": mfa.is_enabled(user),
        "codes_left": len(mfa.unused_recovery_codes(user)),
        "back": redirects.home_url(user),
    }
    return render(request, "mfa/overview.html", context)


@requires(Permission.SIGNED_IN, password_suffices=True)
@page_with_form
@recent_password
def set_up(request: HttpRequest) -> HttpResponse:
    """Show a new secret on every visit; it is stored once a code from it was entered."""
    user = current_user(request)
    if mfa.is_enabled(user):
        return redirect("mfa_index")
    adapter = get_adapter()
    form = SetUpForm()
    secret_in_session = request.session.get(SECRET_KEY, "") if request.method == "POST" else ""
    if secret_in_session:
        secret = adapter.decrypt(secret_in_session)
        form = SetUpForm(request.POST)
        if form.is_valid() and mfa.enable(
            user=user, secret=secret, code=form.cleaned_data["code"], origin=client_info(request)
        ):
            del request.session[SECRET_KEY]
            update_session_auth_hash(request, user)
            messages.success(request, "Your second factor is on. Save these recovery codes now.")
            next_url = request.session.pop(redirects.NEXT_URL_KEY, "")
            query = f"?{urlencode({'next': next_url})}" if next_url else ""
            return HttpResponseRedirect(resolve_url("mfa_view_recovery_codes") + query)
        form.reject_code()
    else:
        secret = generate_totp_secret()
        request.session[SECRET_KEY] = adapter.encrypt(secret)
    context = {
        "form": form,
        "qr": adapter.build_totp_svg(adapter.build_totp_url(user, secret)),
        "secret": " ".join(secret[start : start + 4] for start in range(0, len(secret), 4)),
        "is_required": mfa.must_set_up(user),
    }
    return render(request, "mfa/set_up.html", context)


@requires(Permission.SIGNED_IN)
@page_with_form
@recent_password
@with_second_factor
def turn_off(request: HttpRequest) -> HttpResponse:
    """Turn the second factor off, after a confirmation."""
    if request.method != "POST":
        return render(request, "mfa/turn_off.html")
    user = current_user(request)
    mfa.disable(user=user, origin=client_info(request))
    update_session_auth_hash(request, user)
    messages.success(request, "Your second factor is off. You sign in with your password only.")
    return redirect("mfa_index")


@requires(Permission.SIGNED_IN)
@require_safe
@recent_password
@with_second_factor
def recovery_codes(request: HttpRequest) -> HttpResponse:
    """Show the recovery codes that are left, to print or to save."""
    user = current_user(request)
    context = {
        "codes": mfa.unused_recovery_codes(user),
        "back": redirects.next_url(request, user),
    }
    return render(request, "mfa/recovery_codes.html", context)


@requires(Permission.SIGNED_IN)
@require_safe
@recent_password
def recovery_codes_file(request: HttpRequest) -> HttpResponse:
    """Return the recovery codes as a text file, one on a line."""
    codes = mfa.unused_recovery_codes(current_user(request))
    if not codes:
        raise Http404("There are no recovery codes.")
    text = "".join(f"{code}\n" for code in codes)
    response = HttpResponse(text, content_type="text/plain; charset=utf-8")
    response["Content-Disposition"] = 'attachment; filename="recovery-codes.txt"'
    return response


@requires(Permission.SIGNED_IN)
@page_with_form
@recent_password
@with_second_factor
def renew_recovery_codes(request: HttpRequest) -> HttpResponse:
    """Replace the recovery codes, after a confirmation: printed ones become invalid."""
    if request.method != "POST":
        return render(request, "mfa/renew.html")
    mfa.renew_recovery_codes(user=current_user(request), origin=client_info(request))
    messages.success(request, "These are your new recovery codes. The old ones no longer work.")
    return redirect("mfa_view_recovery_codes")
