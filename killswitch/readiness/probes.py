"""Writes down what somebody found when trying something out."""

from django.db.models.functions import Now

from killswitch.ems.open_orders import OpenOrders
from killswitch.readiness.models import Probe

EMS = "ems"
LONGEST_DETAIL = 500


def record(*, name: str, ok: bool, detail: str = "", milliseconds: float | None = None) -> None:
    """Replace what was found last."""
    Probe.objects.update_or_create(
        name=name,
        defaults={
            "ok": ok,
            "detail": detail[:LONGEST_DETAIL],
            "milliseconds": milliseconds,
            "at": Now(),
        },
    )


def record_ems(orders: OpenOrders) -> None:
    """Whether the EMS answers and takes our key.

    An answer that merely cannot be read is the figures' trouble: a cancel would still go out.
    """
    refused = orders.http_status in {401, 403}
    record(
        name=EMS,
        ok=orders.http_status is not None and not refused,
        detail=f"the key was refused: {orders.error}" if refused else orders.error,
        milliseconds=orders.duration_ms,
    )
