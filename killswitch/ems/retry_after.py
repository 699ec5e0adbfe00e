"""How long the EMS asks us to wait: the Retry-After header."""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_SECONDS = re.compile(r"[0-9]+(\.[0-9]+)?", re.ASCII)


def parse_retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait from now, from seconds or an HTTP date; None for nonsense and the past."""
    value = next((v for k, v in headers.items() if k.lower() == "retry-after"), "").strip()
    if not value or len(value) > 100:
        return None
    if _SECONDS.fullmatch(value):
        seconds = float(value)
        return seconds if math.isfinite(seconds) else None
    return _until(value)


def _until(date: str) -> float | None:
    try:
        moment = parsedate_to_datetime(date)
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        seconds = (aware - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return seconds if seconds >= 0 else None
