"""Reads the open orders of several exchanges with one call for each, side by side."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from django.conf import settings

from killswitch.ems.client import EmsClient
from killswitch.ems.open_orders import TimedOpenOrders
from killswitch.runtime.deadlines import Deadline

MAX_PARALLEL_READS = 8


def read_one_by_one(client: EmsClient, exchange_ids: Sequence[str]) -> dict[str, TimedOpenOrders]:
    """Return the answers about those exchanges for which there is time, by exchange ID.

    No call begins later than one timeout. An EMS that refuses our key or our pace, or fails, is
    left alone at once.
    """
    deadline = Deadline(settings.EMS_TIMEOUT)
    is_refused = threading.Event()

    def read(exchange_id: str) -> TimedOpenOrders | None:
        if deadline.has_passed or is_refused.is_set():
            return None
        orders = client.open_orders(exchange_id)
        if orders.http_status in {401, 403, 429} or (orders.http_status or 500) >= 500:
            is_refused.set()
        return orders

    with ThreadPoolExecutor(MAX_PARALLEL_READS) as pool:
        answers = list(pool.map(read, exchange_ids))
    pairs = zip(exchange_ids, answers, strict=True)
    return {exchange_id: answer for exchange_id, answer in pairs if answer is not None}
