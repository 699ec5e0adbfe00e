"""Acknowledging an alarm from the console."""

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.views.decorators.http import require_POST

from killswitch.accounts.permissions import Permission, actor, requires
from killswitch.alarms import services
from killswitch.alarms.models import Alarm


@requires(Permission.ACKNOWLEDGE)
@require_POST
def acknowledge(request: HttpRequest, alarm_id: int) -> HttpResponse:
    """Note the person's name; the page's poller then fetches what has changed."""
    try:
        services.acknowledge(alarm_id=alarm_id, actor=actor(request.user))
    except Alarm.DoesNotExist:
        raise Http404("There is no such alarm.") from None
    if request.headers.get("HX-Request"):
        return HttpResponse(status=204, headers={"HX-Trigger": "refresh"})
    return HttpResponseRedirect("/")
