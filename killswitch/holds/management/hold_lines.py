"""How the commands print a Hold: as one line of JSON."""

import json

from killswitch.cancels.event_data import utc_text_or_none
from killswitch.holds.models import Hold


def json_line(hold: Hold) -> str:
    """Return the Hold as one line; times are in UTC, and null if there are none."""
    return json.dumps(
        {
            "exchange_id": hold.exchange_id,
            "state": hold.state,
            "started_at": utc_text_or_none(hold.started_at),
            "started_by": hold.started_by,
            "reason": hold.reason or None,
            "episodes": hold.episode_count,
            "orders_cancelled": hold.orders_cancelled,
            "last_read_at": utc_text_or_none(hold.last_read_at),
            "blind_since": utc_text_or_none(hold.blind_since),
            "release_requested_by": hold.release_requested_by or None,
            "release_requested_at": utc_text_or_none(hold.release_requested_at),
            "release_reason": hold.release_reason or None,
        }
    )
