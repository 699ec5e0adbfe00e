"""Records whether an EMS answers at our address and accepts our key."""

from django.db.models.functions import Now

from killswitch.ems.open_orders import TimedOpenOrders
from killswitch.readiness.models import EMS_PROBE, Probe

MAX_DETAIL_CHARS = 500


def record_ems(orders: TimedOpenOrders) -> None:
    """Replace the result of the last probe of the EMS by what this read of the orders shows.

    A list that merely cannot be read passes the probe: a cancel would still go out.
    """
    status = orders.http_status
    problem = ""
    if status in {401, 403}:
        problem = "the API key was rejected: "
    elif status in {404, 405} or (status is not None and 300 <= status < 400):
        problem = "EMS_BASE_URL does not seem to be the address of an EMS: "
    Probe.objects.update_or_create(
        name=EMS_PROBE,
        defaults={
            "ok": status is not None and not problem,
            "detail": f"{problem}{orders.error}"[:MAX_DETAIL_CHARS],
            "milliseconds": orders.duration_ms,
            "at": Now(),
        },
    )
