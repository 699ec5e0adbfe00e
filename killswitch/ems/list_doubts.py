"""Why a list of open orders that looks whole may be a page of it, or an old copy.

An empty list proves that no orders are open only if nothing in the answer contradicts it. Gateways,
proxies and EMS versions announce more rows, and copies from a cache, in many ways, so every header
and every key whose name sounds like it is checked, not a list of known ones.
"""

import re
from collections.abc import Mapping

from killswitch.runtime.text import pluralize_count

MAX_VALUE_CHARS = 80
MAX_DEPTH = 4

# Names, and parts of names, that only look as if they were about the number of rows.
_UNRELATED_NAME = re.compile(r"rate-?limit|quota|(time|duration|latency|seconds|ms|bytes)$")
_UNRELATED_PART = re.compile(r"account|discount|country|counter|retry-after")
_PAGE_SIZE = re.compile(r"page.*(size|limit)|per.?page|size.*page")
_PAGE = re.compile(r"page")
_NUMBER = re.compile(r"total|count")
_MORE = re.compile(r"next|more|cursor|after|truncated|partial")
_NO = frozenset({"", "0", "false", "no", "none", "null", "off", "complete"})
_FIRST_PAGE = re.compile(r"[01](\s*(/|of)\s*[01])?", re.ASCII)

_NEXT_LINK = re.compile(r"""rel\s*=\s*("[^"]*\bnext\b|'[^']*\bnext\b|next\b)""")
_STALE_WARNING = re.compile(r"\b11[0-3]\b")
_CACHE_SETTING = re.compile(r"control|key|tag|policy|enabled|vary")
# HIT, TCP_MEM_HIT, RefreshHit, hit-stale, STALE, UPDATING, REVALIDATED; but not "MISS from hitco".
_HIT = re.compile(
    r"(?<![a-z])([a-z_]*_|refresh)?hits?(?![a-z])|stale|updating|validated|(?<!un)cached|fresh"
)
_MISS = re.compile(
    r"(?<![a-z])([a-z]+_)*(miss|bypass|expired|dynamic|pass|none|no|off|false|error|ignored"
    r"|disabled|uncacheable|uncached|nocache|fwd)(?![a-z])"
)


def sign_of_a_cache(headers: Mapping[str, str]) -> str:
    """Return why an answer may be a copy from a cache; "" without a reason."""
    for name, value in headers.items():
        if _is_from_cache(name.lower(), value.strip().lower()):
            return f"the response came from a cache ({name}: {value[:MAX_VALUE_CHARS]})"
    return ""


def doubt_in_headers(headers: Mapping[str, str], *, counts: set[int]) -> str:
    """Return why a list with these headers may not be complete; "" without a reason.

    `counts` are the numbers that may be announced: those of the orders and of the groups.
    """
    for name, value in headers.items():
        if name.lower() == "link" and _NEXT_LINK.search(value.lower()):
            return "the response is only one page of the list"
        if name.lower() == "content-range":
            return "the response is only part of the list"
        if reason := _contradiction(name, value, counts=counts):
            return reason
    return ""


def doubt_about_group(group: Mapping[str, object], *, rows: int) -> str:
    """Return why a group with so many rows may have more of them; "" without a reason."""
    fields = {key: value for key, value in group.items() if key != "data"}
    return _doubt_in_fields(fields, rows=rows, depth=0)


def _doubt_in_fields(fields: Mapping[str, object], *, rows: int, depth: int) -> str:
    if depth > MAX_DEPTH:
        return "a group is nested too deeply"
    for name, value in fields.items():
        match value:
            case dict():
                reason = _doubt_in_fields(value, rows=rows, depth=depth + 1)
            case list() if any(isinstance(item, dict | list) for item in value):
                reason = f"a group has more than one list ({name[:MAX_VALUE_CHARS]})"
            case list():
                reason = _contradiction(name, "[…]" if value else "", counts={rows})
            case _:
                text = "" if value is None else str(value)
                reason = _contradiction(name, text, counts={rows})
        if reason:
            return reason
    return ""


def _contradiction(name: str, value: str, *, counts: set[int]) -> str:
    """Return how a field contradicts the number of rows received, "" if it does not."""
    subject = _UNRELATED_PART.sub("", name.lower())
    text = value.strip().lower()
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None
    if _UNRELATED_NAME.search(subject):
        agrees = True
    elif _MORE.search(subject):
        agrees = text in _NO
    elif _PAGE_SIZE.search(subject):
        agrees = not text or (number is not None and number > max(counts))
    elif _PAGE.search(subject):
        agrees = text in _NO or bool(_FIRST_PAGE.fullmatch(text))
    elif _NUMBER.search(subject):
        agrees = number in counts or (not text and counts == {0})
    else:
        agrees = True
    if agrees:
        return ""
    shown = f"{name[:MAX_VALUE_CHARS]}: {value.strip()[:MAX_VALUE_CHARS]}"
    return f"the response says “{shown}”, but has {pluralize_count(max(counts), 'order')}"


def _is_from_cache(name: str, value: str) -> bool:
    """Return True for a sign of a cache: orders placed since the copy was made are missing in it.

    Of headers about a cache, only the values that say "not from the cache" are known to be good.
    """
    match name:
        case "age":
            return value.strip("0") != ""
        case "warning":
            return bool(_STALE_WARNING.search(value))
        case "x-varnish":
            return len(value.split()) > 1  # the second number is that of the stored copy
        case "x-cache-hits":
            return value.strip("0, ") != ""
        case _ if "cache" in name and not _CACHE_SETTING.search(name):
            return bool(value) and (bool(_HIT.search(value)) or not _MISS.search(value))
        case _:
            return False
