"""Records the end of a request that was carried out without the database."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from django.db.models import F

from killswitch.break_glass.line_data import list_of
from killswitch.cancels import recording as requests
from killswitch.cancels.conclusion import Conclusion, OpenOrdersAfter
from killswitch.cancels.models import CancelRequest
from killswitch.cancels.states import Status

# The list is looked at again 5 s after a request has ended, if it is recorded sooner than this.
MAX_WATCHED_AGE_S = 3.0


def record_journaled_end(
    request_id: int, token: str, end: Mapping[str, Any], *, before: Status
) -> None:
    """Record an END line. Called inside a recording, while the lease is still held."""
    record_end(
        request_id,
        token,
        before=before,
        conclusion=Conclusion(status=Status(end["status"]), sentence=end["conclusion"]),
        reads=end["reads"],
        last_list=list_of(end["list"], count=end["open_after"]) if end["list"] else None,
        finished_at=datetime.fromisoformat(end["finished_at"]),
    )


def record_end(  # noqa: PLR0913 - whose request, and what came of it
    request_id: int,
    token: str,
    *,
    before: Status,
    conclusion: Conclusion,
    reads: int,
    last_list: OpenOrdersAfter | None,
    finished_at: datetime | None,
) -> None:
    """Record the final status, and the reads that were not counted in the row."""
    if before is Status.SENDING and conclusion.status not in (
        Status.REJECTED,
        Status.NOT_DELIVERED,
    ):
        requests.start_verifying(request_id, token)
        before = Status.VERIFYING
    row = CancelRequest.objects.filter(pk=request_id)
    row.update(reads=F("reads") + reads)
    requests.finish(
        request_id,
        token,
        before=before,
        conclusion=conclusion,
        last_list=last_list,
        finished_at=finished_at,
    )
    age_s = (datetime.now(UTC) - finished_at).total_seconds() if finished_at else math.inf
    if age_s > MAX_WATCHED_AGE_S:
        # Orders that are open now say nothing about a cancel of some time ago.
        row.update(finished_revision=None)
