"""A cancel is one item of the latest cancels, and so are all cancels of a Hold."""

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from killswitch.accounts.models import User
from killswitch.cancels.conclusion import NEVER_LISTED_TEXTS
from killswitch.cancels.models import Batch, CancelRequest, Origin
from killswitch.cancels.states import Status
from killswitch.console.latest_cancels import MAX_ITEMS, BatchCounts, latest_cancels
from killswitch.exchanges.models import Exchange
from killswitch.holds.models import Episode, Hold
from tests import factories
from tests.console.test_console import console
from tests.holds import holding

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]


def feed(page: str) -> str:
    start = page.index('id="latest"')
    return page[start : page.index("</ol>", start)]


def test_a_cancel_on_many_exchanges_is_one_item(officer: Client, olga: User) -> None:
    batch = factories.press(olga, *factories.exchanges(9), everywhere=True, reason="Drill")
    statuses = [Status.REJECTED, Status.UNKNOWN, Status.SENDING, *[Status.CONFIRMED] * 5]
    flat, *others = batch.requests.order_by("id")
    factories.bring(flat, Status.REJECTED, orders=0)
    for request, status in zip(others, statuses, strict=True):
        factories.bring(request, status)
    shown = feed(console(officer))
    assert shown.count("<li") == 1
    assert "<b>All 9 exchanges</b>" in shown
    assert "5 confirmed, 2 not, 1 rejected, none open, 1 running" in shown
    assert 'class="st bad"' in shown
    assert f'href="/batches/{batch.uuid}/"' in shown
    assert "Olga Ray · Drill" in shown


def test_a_confirmed_cancel_after_which_orders_are_open_again_is_not_counted_as_confirmed(
    officer: Client, olga: User
) -> None:
    batch = factories.press(olga, *factories.exchanges(2))
    for request in batch.requests.all():
        factories.bring(request, Status.CONFIRMED)
    assert "2 confirmed" in feed(console(officer))
    factories.look_again(request, after_s=5, orders=2)
    shown = feed(console(officer))
    assert "1 confirmed, 1 not" in shown
    assert "<b>2 exchanges</b>" in shown


def test_confirmed_on_an_id_that_the_ems_never_listed_is_not_counted_as_confirmed(
    officer: Client, olga: User
) -> None:
    batch = factories.press(olga, *factories.exchanges(2))
    for request in batch.requests.all():
        factories.bring(request, Status.CONFIRMED)
    batch.requests.filter(pk=request.pk).update(
        conclusion=f"Confirmed, but {NEVER_LISTED_TEXTS[0]} X."
    )
    shown = feed(console(officer))
    assert "1 confirmed, 1 never listed by the EMS" in shown
    assert 'class="st warn"' in shown


@pytest.mark.parametrize(
    ("counts", "tone"),
    [
        ({"confirmed": 2}, "good"),
        ({"confirmed": 1, "calm": 1}, "good"),
        ({"confirmed": 1, "never_listed": 1}, "warn"),
        ({"confirmed": 1, "calm": 1, "running": 1}, "busy"),
        ({"confirmed": 1, "calm": 1, "running": 1, "failed": 1}, "bad"),
    ],
)
def test_the_mark_of_a_cancel_is_that_of_its_worst_request(
    counts: dict[str, int], tone: str
) -> None:
    total = sum(counts.values())
    known = {"calm": 0, "never_listed": 0, "running": 0} | counts
    failed = known.pop("failed", 0)
    batch = BatchCounts(total=total, **known)
    assert (batch.not_confirmed, batch.mark.tone) == (failed, tone)


def episodes(olga: User, exchange: Exchange, count: int) -> Hold:
    """Hold an exchange, with so many cancels under it."""
    hold = holding.start(olga, exchange)
    for number in range(1, count + 1):
        batch = Batch.objects.create(
            key=f"{hold.pk}:{number}",
            by_name="system",
            by_role="",
            asked_at=factories.observe(),
            reason="Hold by Olga Ray (olga)",
            origin=Origin.HOLD,
        )
        request = CancelRequest.objects.create(
            batch=batch, configured_exchange=exchange, exchange_id=exchange.exchange_id
        )
        Episode.objects.create(hold=hold, request=request, number=number)
    factories.change(hold, episode_count=count)
    return hold


def test_the_cancels_under_a_hold_are_one_item_and_hide_no_cancel_of_a_person(
    officer: Client, olga: User
) -> None:
    one, two, three = factories.exchanges(3)
    factories.press(olga, one, reason="Drill")
    for exchange in (two, three):
        episodes(olga, exchange, 30)
    with CaptureQueriesContext(connection) as queries:
        items = latest_cancels()
    assert [item.batch.reason for item in items][-1] == "Drill"
    assert len(items) == 3
    assert len(queries) <= 6
    shown = feed(console(officer))
    assert shown.count("Hold, 30 cancels so far") == 2
    newest = two.requests.order_by("-id").first()
    assert newest
    assert f'data-request-id="{newest.uuid}"' in shown


def test_only_the_newest_are_listed(olga: User) -> None:
    one, *_ = factories.exchanges(1)
    batches = [factories.press(olga, one) for _ in range(MAX_ITEMS + 2)]
    assert [item.batch.pk for item in latest_cancels()] == [
        batch.pk for batch in reversed(batches[2:])
    ]
