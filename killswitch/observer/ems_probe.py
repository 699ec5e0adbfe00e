"""Judges by an answer to the list of open orders whether the EMS itself answers at our address.

The answers that show it are listed here, and every other one is a problem: a proxy, a cache or a
web page in the EMS's place answers as well, and a cancel sent to it would have an unknown outcome.
"""

import re

from killswitch.ems.open_orders import TimedOpenOrders

# Only the beginning of an answer is kept, so it is searched and not parsed. Inside a text of the
# EMS the closing quote of such a key would follow a backslash.
_ORDERS = re.compile(
    r'\ufeff?\s*\[.*?\{.*?"(exchange_id|exchange_name|client_order_id|exchange_order_id|status'
    r'|symbol_id_exchange|symbol_id_coinapi|amount_order|amount_open|order_type|side)"\s*:',
    re.DOTALL,
)
_EMPTY_LIST = re.compile(r"\ufeff?\s*\[\s*\]\s*\Z")
_HTML = re.compile(r"\ufeff?\s*<(!doctype|!--|html|head|body|title|\?xml)", re.IGNORECASE)

_PROXY_STATUSES = frozenset({407, 502, 504, *range(520, 531)})


def problem(orders: TimedOpenOrders) -> str:
    """Return what answers in the EMS's place, or why it does not answer; "" if the EMS does.

    An EMS that answers with 490 cannot reach an exchange, and can still be sent a cancel.
    """
    status, error = orders.http_status, orders.error
    body = orders.body.decode(errors="replace")
    if status is None:
        return error or "no response"
    if orders.is_from_ems:
        return ""
    if status == 200:
        # A runaway algorithm is when the screen must not say that a cancel does not work.
        is_long_list = "the response is larger than" in error and _ORDERS.match(body)
        return "" if is_long_list else _problem_of_200(error, body=body)
    sentence = _problem_of_status(status, body=body)
    # With the EMS's own words, where it sent any.
    is_said = str(status) in sentence and error == f"HTTP {status}"
    return sentence if is_said else f"{sentence}: {error}"


def _problem_of_200(error: str, *, body: str) -> str:
    if _HTML.match(body):
        return "a web page (HTML) was returned instead of the EMS's response"
    if _ORDERS.match(body) or _EMPTY_LIST.match(body):
        return f"it is not certain that the EMS itself responded: {error}"
    return f"the response does not look like an EMS's: {error}"


def _problem_of_status(status: int, *, body: str) -> str:
    match status:
        case 401 | 403:
            return "the API key was rejected"
        case _ if status in {404, 405} or 300 <= status < 400:
            return "EMS_BASE_URL does not seem to be the address of an EMS"
        case 400:
            return "it rejects our requests as invalid (400)"
        case 429:
            return "it limits our requests (429)"
        case 503:
            return "the server, or a proxy in front of it, returned 503"
        case _ if status in _PROXY_STATUSES:
            return f"the proxy in front returned {status}"
        case _ if status >= 500:
            return f"the server returned {status}"
        case _ if _HTML.match(body):
            return f"a web page (HTML) was returned instead of the EMS's response ({status})"
        case _:
            return f"it returned {status} instead of a list of orders"
