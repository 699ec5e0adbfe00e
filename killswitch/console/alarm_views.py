"""Acknowledging an alarm from the console."""

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.views.decorators.http import require_POST

from killswitch.accounts.decorators import Permission, actor, requires
from killswitch.alarms import services
from killswitch.alarms.models import Alarm

ABOUT_YOU = "This alarm is about you, so another risk officer must acknowledge it."


@requires(Permission.ACKNOWLEDGE)
@require_POST
def acknowledge(request: HttpRequest, alarm_id: int) -> HttpResponse:
    """Note the person's name; the page's poller then fetches what has changed."""
    try:
        services.acknowledge(alarm_id=alarm_id, actor=actor(request.user), person=request.user.pk)
    except Alarm.DoesNotExist:
        raise Http404("There is no such alarm.") from None
    except services.SelfAcknowledgement:
        return _refuse(request)
    if request.headers.get("HX-Request"):
        return HttpResponse(status=204, headers={"HX-Trigger": "refresh"})
    return HttpResponseRedirect("/")


def _refuse(request: HttpRequest) -> HttpResponse:
    if request.headers.get("HX-Request"):
        return HttpResponse(ABOUT_YOU, status=409, content_type="text/plain; charset=utf-8")
    return render(request, "cancels/refused.html", {"sentence": ABOUT_YOU}, status=409)
