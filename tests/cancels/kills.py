"""What the tests of a kill share: faults of the EMS, and kills that run in this process."""

from collections.abc import Mapping
from typing import Any

from killswitch.cancels import execution
from killswitch.cancels.leases import RequestSnapshot
from killswitch.cancels.models import CancelRequest
from killswitch.cancels.states import Status
from tests.conftest import wait_for

Fault = Mapping[str, Any]


def always(fault: str, **parameters: Any) -> list[Fault]:
    return [{"fault": fault, "repeat": True, **parameters}]


def reject(reason: str, *, status: int = 200, **parameters: Any) -> list[Fault]:
    return always("reject", reason=reason, status=status, **parameters)


LIST_GONE = always("server_error", status=503)


def carry_out(requests: list[CancelRequest]) -> CancelRequest:
    """Run the requests in this process until all are final, and return the first of them."""
    ids = [request.pk for request in requests]
    execution.run(ids=ids)
    rows = CancelRequest.objects.filter(id__in=ids)
    wait_for(lambda: all(request.is_final for request in rows.all()), seconds=45)
    return rows.order_by("id")[0]


def snapshot(request: CancelRequest) -> RequestSnapshot:
    """Return the request as a watchdog sees it now."""
    row = CancelRequest.objects.get(pk=request.pk)
    return RequestSnapshot(
        id=row.pk,
        status=Status(row.status),
        lease_token=row.lease_token,
        lease_beats=row.lease_beats,
        finished_calls=row.attempt_count + row.reads,
    )
