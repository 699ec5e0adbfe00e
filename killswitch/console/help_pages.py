"""The help: what each state means and what to do now, and a page for the first day in each role."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from killswitch.accounts.decorators import current_user, requires
from killswitch.accounts.permissions import Permission, has_permission
from killswitch.cancels.status_help import ALL_STATUSES, StatusHelp
from killswitch.console.context_processors import BADGES
from killswitch.console.display import Display, Switch
from killswitch.holds.models import HoldState
from killswitch.readiness.judgement import Level

_READINESS: dict[Level, tuple[str, str]] = {
    Level.READY: (
        "A cancel would be recorded and sent to the EMS. It does not mean that an exchange would"
        " accept it.",
        "Nothing.",
    ),
    Level.DEGRADED: (
        "A cancel can be recorded, but something that it or the figures depend on is not working:"
        " open the badge to see what. It may take longer, or figures may be old.",
        "You can cancel. Tell the system operator, and check the outcome at the exchange.",
    ),
    Level.NOT_READY: (
        "A cancel will probably fail: it cannot be recorded, nothing can carry it out, no exchange"
        " is enabled, or the EMS is unreachable.",
        "Call the system operator. You can still try; if it is not confirmed, cancel manually or at"
        " the exchange.",
    ),
}
READINESS_HELP: dict[str, StatusHelp] = {
    level: StatusHelp(
        name=f"ready-{level}",
        label=level.replace("_", " "),
        icon=BADGES[level][0],
        tone=BADGES[level][1],
        meaning=meaning,
        action=action,
    )
    for level, (meaning, action) in _READINESS.items()
} | {
    # As static/js/freshness.js shows it.
    "NOT_KNOWN": StatusHelp(
        name="ready-NOT_KNOWN",
        label="NOT KNOWN",
        icon="ask",
        tone="odd",
        meaning="This page gets no response from the console, or your session has ended. All"
        " figures are old.",
        action="Read the bar at the bottom: it says what happened and how to cancel manually.",
    )
}
HOLD_HELP: dict[str, StatusHelp] = {
    HoldState.ACTIVE: StatusHelp(
        name="hold-ACTIVE",
        label="Held",
        icon="cut",
        tone="",
        meaning="The console keeps cancelling the orders that the EMS lists on this exchange until"
        " the Hold is released. New orders are not blocked: each is open until it is cancelled.",
        action="Stop whatever is placing the orders. Release the Hold when trading may resume.",
    ),
    HoldState.RELEASE_REQUESTED: StatusHelp(
        name="hold-RELEASE_REQUESTED",
        label="Held, release requested",
        icon="clock",
        tone="busy",
        meaning="The release of the Hold was requested. The Hold stays in force until the release"
        " is confirmed; after 15 minutes the request lapses.",
        action="If you agree and may confirm it, open the exchange's release page and confirm.",
    ),
    HoldState.RELEASED: StatusHelp(
        name="hold-RELEASED",
        label="Not held: released",
        icon="ok",
        tone="",
        meaning="The Hold has ended. New orders on this exchange stay open.",
        action="Watch the open orders after a release. Hold again if they are wrong.",
    ),
    "BLIND": StatusHelp(
        name="hold-BLIND",
        label="Blind",
        icon="ask",
        tone="bad",
        meaning="The open orders of a held exchange cannot be read. Cancels are still sent every"
        " few seconds, without knowing whether there are orders.",
        action="Treat orders as open, check at the exchange, and tell the system operator.",
    ),
    "NOT_ENFORCED": StatusHelp(
        name="hold-NOT_ENFORCED",
        label="Not enforced?",
        icon="no",
        tone="bad",
        meaning="For some seconds no process has checked a held exchange. New orders there may not"
        " be cancelled.",
        action="Treat orders as open and cancel at the exchange. Tell the system operator.",
    ),
}
FIGURE_HELP = (
    StatusHelp(
        name="figure-open-again",
        label="Confirmed · new orders since",
        icon="left",
        tone="warn",
        meaning="The last cancel was confirmed, and the EMS lists open orders again: new ones, or"
        " restored by the exchange.",
        action="If they should not be there, stop whatever is placing them, then retry.",
    ),
    StatusHelp(
        name="figure-never-listed",
        label="never listed",
        icon="ask",
        tone="odd",
        meaning="The EMS has never listed an order with this exchange ID. The ID may be wrong, so"
        " this is not a zero.",
        action="Ask an administrator to compare the ID with the EMS's. Until then, check open"
        " orders at the exchange.",
    ),
    StatusHelp(
        name="figure-not-set-up",
        label="Not enabled here",
        icon="no",
        tone="bad",
        meaning="The EMS lists open orders on an exchange that is not enabled here. No cancel from"
        " this console includes it.",
        action="Cancel at the exchange, and ask an administrator to enable it.",
    ),
    StatusHelp(
        name="figure-old",
        label="A brown figure with a dotted line",
        icon="clock",
        tone="warn",
        meaning="The figure is old: the newest one could not be read. The age next to it says how"
        " old.",
        action="Do not rely on it. You can still cancel.",
    ),
)


@requires(Permission.SIGNED_IN)
@never_cache
@require_safe
def reference(request: HttpRequest) -> HttpResponse:
    """Show what each state means, what a cancel does, and the shortcuts."""
    context = {
        "layout": _layout(request),
        "statuses": ALL_STATUSES,
        "readiness_states": READINESS_HELP.values(),
        "hold_states": HOLD_HELP.values(),
        "figures": FIGURE_HELP,
    }
    return render(request, "console/help.html", context)


@requires(Permission.SIGNED_IN)
@never_cache
@require_safe
def first_day(request: HttpRequest) -> HttpResponse:
    """Show the first steps of the user's role; having opened it dismisses the hint."""
    steps = f"console/_first_day_{current_user(request).role.lower()}.html"
    context = {"layout": _layout(request), "steps": steps}
    response = render(request, "console/first_day.html", context)
    Display.of(request).changed({"hint": Switch.OFF}).remember(response)
    return response


def _layout(request: HttpRequest) -> str:
    """Return the base template: administrators have no console, so their page has no poller."""
    has_console = has_permission(request.user, Permission.CONSOLE)
    return "base.html" if has_console else "base_plain.html"
