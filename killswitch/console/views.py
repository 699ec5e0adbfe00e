"""The console itself, and the one poller of every page."""

from http import HTTPStatus

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from killswitch.accounts import officer_cookie
from killswitch.accounts.decorators import Permission, public, requires
from killswitch.accounts.models import User
from killswitch.console import grid, manual_cancel
from killswitch.console.poll import answer
from killswitch.exchanges.models import Observation
from killswitch.runtime.revisions import current


@public
@require_safe
def home(request: HttpRequest) -> HttpResponseBase:
    """Administrators have no business on the console; the others are asked who they are there."""
    if isinstance(request.user, User) and request.user.is_administrator:
        return redirect("admin:index")
    return console(request)


@requires(Permission.CONSOLE)
@never_cache
def console(request: HttpRequest) -> HttpResponse:
    """Every exchange, the kill for all of them, and what was asked lately."""
    known = current()
    observation = Observation.objects.filter(id=1).first()
    newest_look = observation.seen_at if observation else None
    rows = grid.rows(newest_look=newest_look)
    exchanges = [row.exchange for row in rows]
    manual_cancel.remember(exchanges)
    context = {
        "known": known,
        "newest_look": newest_look,
        "rows": rows,
        "attention": sum(row.needs_attention for row in rows),
        "everywhere": grid.Totals.of(exchanges, observation=observation),
        "latest": grid.latest(),
    }
    response = render(request, "console/console.html", context)
    officer_cookie.remember_browser(request, response)
    return response


@requires(Permission.REQUESTS)
@never_cache
@require_safe
def poll(request: HttpRequest) -> HttpResponse:
    """What changed in what the page shows; 204 when nothing did."""
    assert isinstance(request.user, User)  # noqa: S101 - `requires` let nobody else in
    if request.GET.get("person", str(request.user.pk)) != str(request.user.pk):
        # Somebody else has signed in in another tab: whose page this is has no session any more.
        return HttpResponse(status=HTTPStatus.UNAUTHORIZED)
    return answer(request, user=request.user)
