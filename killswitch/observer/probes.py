"""Writes down what somebody found when trying something out."""

from django.db.models.functions import Now

from killswitch.ems.open_orders import OpenOrders
from killswitch.readiness.models import Probe

EMS = "ems"
MAX_DETAIL_CHARS = 500


def record(*, name: str, ok: bool, detail: str = "", milliseconds: float | None = None) -> None:
    """Replace what was found last."""
    Probe.objects.update_or_create(
        name=name,
        defaults={
            "ok": ok,
            "detail": detail[:MAX_DETAIL_CHARS],
            "milliseconds": milliseconds,
            "at": Now(),
        },
    )


def record_ems(orders: OpenOrders) -> None:
    """Whether an EMS answers there and takes our key.

    A list that merely cannot be read is the figures' trouble: a cancel would still go out.
    """
    wrong = _wrong(orders.http_status)
    record(
        name=EMS,
        ok=orders.http_status is not None and not wrong,
        detail=f"{wrong}{orders.error}",
        milliseconds=orders.duration_ms,
    )


def _wrong(status: int | None) -> str:
    """What an answer says that a cancel at the same place would meet as well."""
    if status in {401, 403}:
        return "the key was refused: "
    if status in {404, 405} or (status is not None and 300 <= status < 400):
        return "EMS_BASE_URL leads to no EMS: "
    return ""
