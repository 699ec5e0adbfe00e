"""The guard in front of every page of administrators."""

from functools import wraps

from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from killswitch.accounts.decorators import P, View, recent_password, requires
from killswitch.accounts.permissions import Permission

# What people type into these pages, apart from passwords.
TYPED = {
    "username": "Username",
    "full_name": "Full name",
    "exchange_id": "Exchange ID",
    "name": "Name",
    "caveat": "Known limits",
    "contact": "Who to call",
    "emergency_phone": "Emergency desk",
    "member_ids": "Member IDs",
    "session_ids": "Session IDs",
    "what_they_ask": "What they ask",
    "text": "Text",
    "comment": "Comment",
}


def administration(view: View[P]) -> View[P]:
    """Open a page to administrators; no cache keeps it."""
    page = require_http_methods(["GET", "HEAD", "POST"])(view)
    return _returning_input(requires(Permission.ADMINISTER)(never_cache(page)))


def administration_with_password(view: View[P]) -> View[P]:
    """Open a page that changes access to administrators who gave their password a moment ago."""
    return administration(recent_password(view))


def _returning_input(view: View[P]) -> View[P]:
    """Show what was typed instead of losing it when a form must first be signed in for again.

    It cannot be kept for them: visitors could fill the database, and it is too long for addresses.
    """

    @wraps(view)
    def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        response = view(request, *args, **kwargs)
        address = response.headers.get("Location", "")
        if request.method != "POST" or not address.startswith("/accounts/"):
            return response
        typed = {
            label: request.POST[name]
            for name, label in TYPED.items()
            if request.POST.get(name, "").strip()
            and request.POST[name] != request.POST.get(f"initial-{name}")
        }
        if not typed:
            return response
        context = {"typed": typed, "address": address}
        return render(request, "administration/not_saved.html", context)

    return guarded
