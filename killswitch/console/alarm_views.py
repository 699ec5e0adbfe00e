"""The page of the alarms, and acknowledging one or many of them."""

from http import HTTPStatus
from typing import Any

from allauth.account.internal.flows.reauthentication import did_recently_reauthenticate
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import render, resolve_url
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe
from django_htmx.http import HttpResponseClientRedirect

from killswitch.accounts.decorators import current_user, requires
from killswitch.accounts.permissions import Permission
from killswitch.accounts.services import is_only_acknowledger
from killswitch.alarms.models import Alarm
from killswitch.alarms.services import (
    MAX_NOTE_CHARS,
    Acknowledgement,
    SelfAcknowledgement,
    acknowledge_all,
)
from killswitch.console.alarm_list import AlarmHistory, OpenAlarms
from killswitch.runtime.http import is_htmx, parse_id, see_other
from killswitch.runtime.revisions import current
from killswitch.runtime.text import clean_line, pluralize_count

CONCERNS_YOU = "Another person must acknowledge this alarm: it concerns your account."
NONE_SELECTED = "Select at least one alarm."
NOTE_TOO_LONG = f"The note is longer than {MAX_NOTE_CHARS} characters. Shorten it."
NOT_ACKNOWLEDGED = "No alarm was acknowledged."
MAX_ALARMS = 1000  # at once


@requires(Permission.REQUESTS)
@never_cache
@require_safe
def list_alarms(request: HttpRequest) -> HttpResponse:
    """Show the unacknowledged alarms, and the history of the others."""
    return _page(request)


@requires(Permission.ACKNOWLEDGE)
@never_cache
@require_POST
def acknowledge(request: HttpRequest, alarm_id: int) -> HttpResponse:
    """Acknowledge an alarm in the person's name; the page's poller then fetches the change."""
    try:
        acknowledge_all([alarm_id], by=_acknowledgement(request, note=""))
    except Alarm.DoesNotExist:
        raise Http404("This alarm does not exist.") from None
    except SelfAcknowledgement:
        return _refuse_own(request)
    if is_htmx(request):
        return HttpResponse(status=204, headers={"HX-Trigger": "refresh"})
    return HttpResponseRedirect("/")


@requires(Permission.ACKNOWLEDGE)
@never_cache
@require_POST
def acknowledge_selected(request: HttpRequest) -> HttpResponse:
    """Acknowledge the alarms that the form names, all of them or none, with one note.

    They are those that the page showed: one that was raised since is not acknowledged.
    """
    ids = _selected(request.POST)
    note = clean_line(request.POST.get("note", ""), max_chars=MAX_NOTE_CHARS + 1)
    if not ids or len(note) > MAX_NOTE_CHARS:
        return _page(
            request,
            status=HTTPStatus.UNPROCESSABLE_ENTITY,
            selection_error="" if ids else NONE_SELECTED,
            note_error=NOTE_TOO_LONG if len(note) > MAX_NOTE_CHARS else "",
            note=request.POST.get("note", ""),
            selected=set(ids),
        )
    try:
        new = acknowledge_all(ids, by=_acknowledgement(request, note=note))
    except Alarm.DoesNotExist:
        raise Http404("One of these alarms does not exist.") from None
    except SelfAcknowledgement:
        return _refuse_own(request)
    text = f"{pluralize_count(len(new), 'alarm')} acknowledged."
    if earlier := len(set(ids)) - len(new):
        text += f" {pluralize_count(earlier, 'other')} had been acknowledged or resolved before."
    messages.success(request, text)
    return see_other(reverse("alarms:list"))


def _acknowledgement(request: HttpRequest, *, note: str) -> Acknowledgement:
    user = current_user(request)
    return Acknowledgement(
        actor=user.actor,
        user_pk=user.pk,
        note=note,
        is_only_officer=did_recently_reauthenticate(request) and is_only_acknowledger(user),
    )


def _selected(form: QueryDict) -> list[int]:
    """Return the alarms of the button that was used: one, a group, or those that are ticked."""
    if button := form.get("only") or form.get("group"):
        texts = str(button).split()
    else:
        texts = [str(text) for text in form.getlist("alarm")]
    # No row has the number 0, so an invalid one is not found.
    return [parse_id(text) or 0 for text in texts[:MAX_ALARMS]]


def _refuse_own(request: HttpRequest) -> HttpResponse:
    """Ask the only risk officer for the password; tell others that another person must do it."""
    if is_only_acknowledger(request.user):
        query = urlencode({"next": reverse("alarms:list")})
        url = f"{resolve_url('account_reauthenticate')}?{query}"
        if is_htmx(request):
            return HttpResponseClientRedirect(url)
        return see_other(url)
    if is_htmx(request):
        return HttpResponse(CONCERNS_YOU, status=409, content_type="text/plain; charset=utf-8")
    return _page(
        request,
        status=HTTPStatus.CONFLICT,
        selection_error=f"{NOT_ACKNOWLEDGED} {CONCERNS_YOU}",
        note=request.POST.get("note", ""),
        selected=set(_selected(request.POST)),
    )


def _page(request: HttpRequest, *, status: int = HTTPStatus.OK, **context: Any) -> HttpResponse:
    context |= {
        "known": current(),
        "open_alarms": OpenAlarms.now(),
        "history": AlarmHistory.of(request.GET),
        "max_note_chars": MAX_NOTE_CHARS,
    }
    return render(request, "console/alarms.html", context, status=status)
