"""Why a list of open orders that looks whole may be a page of it, an old copy, or a failure.

An empty list proves that no orders are open only if nothing in the answer contradicts it. Gateways,
proxies and EMS versions announce more rows, copies from a cache and failures in many ways, so every
header and field is checked whose name or value sounds like it, not a list of known ones.
"""

import re
from collections.abc import Mapping

from killswitch.ems.foreign_json import AmbiguousObject, InvalidJson, parse_leniently
from killswitch.runtime.text import pluralize_count

MAX_SHOWN_CHARS = 80
MAX_DEPTH = 4
# Longer ones are not searched: expressions take time that grows with the square of the length.
MAX_NAME_CHARS, MAX_VALUE_CHARS = 100, 400

# Names, and parts of names, that only look as if they were about the number of rows.
_UNRELATED_NAME = re.compile(
    r"rate-?limit|quota|attempt|retry|throttle|request-?count|pagespeed|^content-length$"
)
_UNRELATED_PART = re.compile(r"account|discount|country|counter")
_TIME = re.compile(r"(time|duration|latency|seconds|bytes|[-_]ms|[-_]at)$")
_PAGE_SIZE = re.compile(r"pag[ei].*(size|limit)|per.?page|size.*page")
_PAGE = re.compile(r"pag[ei]")
_NUMBER = re.compile(r"total|count")
_MAYBE_NUMBER = re.compile(r"record|item|result|length|rows|hits")
_MORE = re.compile(
    r"next|more|cursor|after|truncat|partial|continu|remain|incomplete|marker|offset"
)
_WHOLE = re.compile(r"complete|is.?last|last.?page")
_NO = frozenset({"", "0", "0.0", "false", "no", "none", "null", "off", "complete"})
_YES = frozenset({"", "1", "true", "yes", "complete"})
_FIRST_PAGE = re.compile(r"[01](\s*(/|of)\s*[01])?", re.ASCII)
_NOTHING_IN_RANGE = re.compile(r"(\w+ )?(\*|0-0)?/?0", re.ASCII)

_NEXT_LINK = re.compile(r"""rel\s*=\s*("[^"]*\bnext\b|'[^']*\bnext\b|next\b)""")
_STALE_WARNING = re.compile(r"\b11[0-3]\b|stale|partial")
_CACHE_SETTING = re.compile(
    r"control|key|tag|policy|enabled|vary|info|cacheable|bypass|no-?cache|cached-?at"
)
# HIT, TCP_MEM_HIT, RefreshHit, hit-stale, STALE, UPDATING, REVALIDATED; but not "MISS from hitco",
# nor Varnish's hit-for-miss.
_HIT = re.compile(
    r"(?<![a-z])([a-z]+_){0,3}(refresh)?hits?(?![a-z]|-for-)|stale|updating|validated"
    r"|(?<!un)cached|fresh(?!hit)"
)
_MISS = re.compile(
    r"(?<![a-z])([a-z]+_){0,3}(miss|bypass|expired|dynamic|pass|none|no|off|false|error|ignored"
    r"|disabled|uncacheable|uncached|nocache|nostore|notcacheable|skip|refresh|n/a|fwd"
    r"|[a-z]*generatedresponse)(?![a-z])|^[-0., ]*$"
)
_PLAIN_HIT = re.compile(r'(desc="?)?(hit|stale|updating|revalidated|refreshhit)"?')
_SERVER_TIMING_HIT = re.compile(r'cache[^,]*desc="?(hit|stale)')
_TRAFFIC_SERVER_HIT = re.compile(r"\[[a-z ]*c[hs]", re.IGNORECASE)

# Fields of a group without orders that say that something could not be read, or not just now.
_TROUBLE = re.compile(r"error|warn|message|reason|fail|reject|stale|cache|degraded")
_CONNECTION = re.compile(r"connected|online|available|loaded|synchroni[sz]ed")
_GOOD_SEVERITIES = frozenset({"", "info", "ok", "none"})
_OTHER_LISTS = re.compile(r"order|item|result|row|record|report|execution|position")


def sign_of_a_cache(headers: Mapping[str, str]) -> str:
    """Return why an answer may be a copy from a cache; "" without a reason."""
    for name, value in headers.items():
        short = value.strip()[: MAX_VALUE_CHARS + 1]
        if _is_from_cache(name.lower()[:MAX_NAME_CHARS], short.lower()):
            return f"the response came from a cache ({_shown(name, value)})"
    return ""


def doubt_in_headers(headers: Mapping[str, str], *, rows: int, groups: int) -> str:
    """Return why a list with these headers may not be complete; "" without a reason.

    A number in a header may be that of the orders, or of the groups if each holds an order.
    """
    counts = {rows, min(rows, groups)}
    for name, value in headers.items():
        lower_name, text = name.lower()[:MAX_NAME_CHARS], value.strip()[: MAX_VALUE_CHARS + 1]
        if lower_name == "link" and _NEXT_LINK.search(text.lower()):
            return "the response is only one page of the list"
        if "range" in lower_name and not lower_name.startswith(("accept", "vary")):
            if not _NOTHING_IN_RANGE.fullmatch(text.lower()):
                return "the response is only part of the list"
            continue
        fields = _json_fields(text) if text.startswith("{") else {name: text}
        if not _UNRELATED_NAME.search(lower_name) and (
            reason := _doubt_in_fields(fields, counts=counts, depth=0)
        ):
            return reason
    return ""


def doubt_about_group(group: Mapping[str, object], *, rows: int) -> str:
    """Return why a group with so many rows may have more of them; "" without a reason."""
    if isinstance(group, AmbiguousObject):
        return "a group in the list gives one field several values"
    fields = {key: value for key, value in group.items() if key != "data"}
    if rows == 0 and (reason := _trouble(fields)):
        return reason
    return _doubt_in_fields(fields, counts={rows}, depth=0)


def _trouble(fields: Mapping[str, object]) -> str:
    """Return what a group without orders says of a failure, "" if it says nothing of the kind."""
    for name, value in fields.items():
        lower_name, text = name.lower(), _text(value).lower()
        is_trouble = (
            (lower_name == "severity" and text not in _GOOD_SEVERITIES)
            or (lower_name == "type" and bool(re.search(r"error|reject|fail", text)))
            or (lower_name == "age" and text not in _NO)
            or (bool(_TROUBLE.search(lower_name)) and text not in _NO)
            or (bool(_CONNECTION.search(lower_name)) and text in _NO - {""})
        )
        if is_trouble:
            return f"a group without orders says “{_shown(name, _text(value))}”"
    return ""


def _doubt_in_fields(fields: Mapping[str, object], *, counts: set[int], depth: int) -> str:
    if depth > MAX_DEPTH:
        return "a field of the list is nested too deeply"
    if isinstance(fields, AmbiguousObject):
        return "a field of the list has several values"
    for name, value in fields.items():
        is_list = isinstance(value, list | dict) and bool(_OTHER_LISTS.search(name.lower()))
        if value and (is_list or _holds_objects(value)):
            reason = f"a group has more than one list ({name[:MAX_SHOWN_CHARS]})"
        elif isinstance(value, dict):
            reason = _doubt_in_fields(value, counts=counts, depth=depth + 1)
        else:
            reason = _contradiction(name, _text(value), counts=counts)
        if reason:
            return reason
    return ""


def _contradiction(name: str, value: str, *, counts: set[int]) -> str:
    """Return how a field contradicts the number of rows received, "" if it does not."""
    subject = _UNRELATED_PART.sub("", name.lower()[:MAX_NAME_CHARS])
    text = value.strip().lower()
    digits = text.removesuffix(".0")
    number = int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 20 else None
    # Not a time: the longest names of this kind say what they measure at their end.
    is_time = bool(_TIME.search(subject))
    if _UNRELATED_NAME.search(subject):
        agrees = True
    elif _WHOLE.search(subject) and "incomplete" not in subject:
        agrees = text in _YES
    elif _MORE.search(subject):
        agrees = text in _NO
    elif _PAGE_SIZE.search(subject):
        agrees = not text or (number is not None and number > max(counts))
    elif _PAGE.search(subject) and not is_time:
        agrees = text in _NO or bool(_FIRST_PAGE.fullmatch(text))
    elif _NUMBER.search(subject) and not (is_time and "count" not in subject):
        agrees = number in counts or (not text and counts == {0})
    elif _MAYBE_NUMBER.search(subject) and not is_time:
        agrees = number is None or number in counts
    else:
        agrees = True
    if agrees:
        return ""
    rows = pluralize_count(max(counts), "order")
    return f"the response says “{_shown(name, value)}”, but has {rows}"


def _is_from_cache(name: str, value: str) -> bool:
    """Return True for a sign of a cache: orders placed since the copy was made are missing in it.

    Of headers about a cache, only the values that say "not from the cache" are known to be good.
    """
    if len(value) > MAX_VALUE_CHARS:
        return "cache" in name
    match name:
        case "age":
            return value.strip("0") != ""
        case "warning":
            return bool(_STALE_WARNING.search(value))
        case "x-varnish":  # of each layer: its own number, and that of the stored copy if any
            return any(len(layer.split()) > 1 for layer in value.split(","))
        case "server-timing":
            return bool(_SERVER_TIMING_HIT.search(value))
        case "via":
            return bool(_TRAFFIC_SERVER_HIT.search(value))
        case _ if "cache" in name and not _CACHE_SETTING.search(name):
            return bool(value) and (_is_hit(name, value) or not _MISS.search(value))
        case _:
            is_plain_hit = bool(_PLAIN_HIT.fullmatch(value)) or value == "cache"
            return is_plain_hit or ("stale" in name and value not in _NO)


def _is_hit(name: str, value: str) -> bool:
    if "hits" in name or name.endswith("hit"):
        return value.strip("0, ") != ""
    return bool(_HIT.search(value))


def _holds_objects(value: object) -> bool:
    return isinstance(value, list) and any(isinstance(item, dict | list) for item in value)


def _json_fields(text: str) -> dict[str, object]:
    try:
        document = parse_leniently(text.encode(errors="replace"))
    except InvalidJson:
        return {"": text}
    return document if isinstance(document, dict) else {}


def _text(value: object) -> str:
    match value:
        case None | "":
            return ""
        case bool():
            return str(value).lower()
        case list() | dict():
            return "…" if value else ""
        case _:
            return str(value)


def _shown(name: str, value: str) -> str:
    return f"{name[:MAX_SHOWN_CHARS]}: {value.strip()[:MAX_SHOWN_CHARS]}"
