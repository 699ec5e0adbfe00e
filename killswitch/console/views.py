"""The console, the page of an exchange, and the one poller of every page."""

from http import HTTPStatus

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from killswitch.accounts import officer_cookie
from killswitch.accounts.decorators import current_user, public, requires
from killswitch.accounts.models import User
from killswitch.accounts.permissions import Permission
from killswitch.console import exchange_page, preferences
from killswitch.console.console_parts import console_page
from killswitch.console.exchange_page import ExchangePage
from killswitch.console.open_order_chart import HOURS, OpenOrderChart
from killswitch.console.poll import answer
from killswitch.console.preferences import Preferences
from killswitch.console.row_markup import Viewer
from killswitch.exchanges.models import Observation
from killswitch.runtime.http import parse_id
from killswitch.runtime.revisions import current


@public
@require_safe
def home(request: HttpRequest) -> HttpResponseBase:
    """Show the console, which asks for a sign-in; lead administrators to their own pages."""
    if isinstance(request.user, User) and request.user.is_administrator:
        return redirect("administration")
    return console(request)


@requires(Permission.CONSOLE)
@never_cache
def console(request: HttpRequest) -> HttpResponse:
    """Show every exchange, the kill for all of them, and the latest requests."""
    newest, markup = console_page(Viewer.of(current_user(request)))
    shared = markup.console
    shown = Preferences.of(request, row_count=len(shared.rows))
    context = {
        "known": newest.revision,
        "observed_at": shared.observed_at,
        "rows": [markup.rows[row.exchange.pk] for row in shown.sorted(shared.rows)],
        "shown": shown,
        "attention_count": shared.attention_count,
        "console": markup,
        "manual_cancel_lines": shared.manual_cancel_lines,
        "held": shared.held,
    }
    response = render(request, "console/console.html", context)
    officer_cookie.remember_browser(request, response)
    preferences.remember(request, response)
    return response


@requires(Permission.REQUESTS)
@never_cache
@require_safe
def exchange(request: HttpRequest, pk: int) -> HttpResponse:
    """Show one exchange: its open orders, its Hold, its requests and the last hours."""
    revision = current()
    observation = Observation.objects.first()
    row = exchange_page.find(pk)
    if row is None:
        sentence = "There is no exchange with this ID. Check the link, or find it on the console."
        raise Http404(sentence)
    hours = parse_id(request.GET.get("hours", ""))
    context = {
        "known": revision,
        "observed_at": observation.seen_at if observation else None,
        "page": ExchangePage.of(row, observation=observation),
        "chart": OpenOrderChart.of(row, hours=hours if hours in HOURS else HOURS[0]),
    }
    return render(request, "console/exchange.html", context)


@requires(Permission.REQUESTS)
@never_cache
@require_safe
def poll(request: HttpRequest) -> HttpResponse:
    """Return what has changed of the parts that the page shows, or 204."""
    user = current_user(request)
    if request.GET.get("person", str(user.pk)) != str(user.pk):
        # Another person has signed in in another tab, so the session of this page is over.
        return HttpResponse(status=HTTPStatus.UNAUTHORIZED)
    return answer(request, user=user)
