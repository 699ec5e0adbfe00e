"""Markup that is rendered once for many pages is that of each page's own values."""

import math
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.test import Client
from django.utils import timezone

from killswitch.accounts.models import Role, User
from killswitch.alarms.models import Alarm, AlarmKind
from killswitch.cancels.models import CancelRequest
from killswitch.cancels.outcome_line import OutcomeLine
from killswitch.cancels.request_item import RequestItem, RequestItems
from killswitch.cancels.states import Status
from killswitch.cancels.templatetags.cancels import ManualCommands
from killswitch.cancels.view_models import BatchPage
from killswitch.console import grid
from killswitch.console import poll as console_poll
from killswitch.console.attention import Attention, AttentionItem
from killswitch.console.latest_cancels import LatestItem
from killswitch.console.newest import Newest, SharedNewest
from killswitch.console.row_markup import RowMarkup, RowText, Viewer
from killswitch.exchanges.models import Exchange, Observation
from killswitch.runtime import cached_markup
from killswitch.runtime.revisions import current, next_revision
from tests import factories
from tests.browser import scenes
from tests.console.press_helpers import HTMX
from tests.holds import holding
from tests.markup import html
from tests.rendering import counted

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]

OFFICER = Viewer(may_cancel=True, may_hold=True)
TEMPLATES = Path(django_settings.BASE_DIR) / "templates"
# Each template, the type of its values, and what it gets besides: a row under a Hold is not cached.
CACHED: list[tuple[str, Any, set[str]]] = [
    ("console/_row.html", RowText, {"hold_view"}),
    ("cancels/_outcome.html", OutcomeLine, {"outcome"}),
    ("console/_attention_item.html", AttentionItem, set()),
    ("console/_latest_item.html", LatestItem, set()),
    ("cancels/_request_item.html", RequestItem, set()),
    ("_manual_commands.html", ManualCommands, {"line", "forloop"}),
]
VARIABLE = re.compile(r"{{ *([a-z_]+)|{% *(?:if|elif|for \w+ in) +([^%]*)%}|with=?(\w+)")


@pytest.fixture(autouse=True)
def nothing_rendered() -> Iterator[None]:
    cached_markup._pieces.cache_clear()
    yield
    cached_markup._pieces.cache_clear()


@pytest.mark.parametrize(("name", "values", "others"), CACHED)
def test_a_template_that_is_cached_reads_its_values_and_nothing_else(
    name: str, values: Any, others: set[str]
) -> None:
    text = (TEMPLATES / name).read_text()
    used = set()
    for variable, condition, _ in VARIABLE.findall(text):
        words = re.findall(r"[a-z_.]+", variable or re.sub(r"\|\w+", "", condition))
        used |= {word.partition(".")[0] for word in words} - {"and", "or", "not"}
    assert used
    assert used <= {*values._fields, *others}
    tags = set(re.findall(r"{% *(\w+)", text))
    assert tags <= {"if", "elif", "else", "endif", "for", "endfor", "include", "url"}


def rows() -> list[grid.Row]:
    observation = Observation.objects.first()
    return grid.rows(observed_at=observation.seen_at if observation else None)


def page(viewer: Viewer = OFFICER) -> str:
    """All that is cached of the console."""
    markup, shown = RowMarkup(viewer), rows()
    attention = Attention(shown)
    items = [item.markup for item in (*attention.failed, *attention.running)]
    return "".join([*map(markup.of, shown), *items])


def rename(exchange: Exchange, _: CancelRequest) -> None:
    factories.change(exchange, name="Another name")


def limit(exchange: Exchange, _: CancelRequest) -> None:
    factories.change(exchange, caveat="Not its conditional orders")


def trade(exchange: Exchange, _: CancelRequest) -> None:
    factories.change(exchange, open_orders=4711)


def never_list(exchange: Exchange, _: CancelRequest) -> None:
    factories.change(exchange, open_orders=0, first_listed_at=None)


def lose_the_figure(exchange: Exchange, _: CancelRequest) -> None:
    factories.change(exchange, open_orders=None, first_listed_at=timezone.now())


def see_only_the_others(exchange: Exchange, _: CancelRequest) -> None:
    Exchange.objects.filter(pk=exchange.pk).update(seen_at=timezone.now() - timedelta(minutes=3))


def see_again(_: Exchange, __: CancelRequest) -> None:
    seen_at = timezone.now() + timedelta(seconds=7)
    Observation.objects.update(seen_at=seen_at)
    Exchange.objects.update(seen_at=seen_at)


def press_again(exchange: Exchange, request: CancelRequest) -> None:
    assert request.batch.by
    factories.press(request.batch.by, exchange)


def retry(_: Exchange, request: CancelRequest) -> None:
    CancelRequest.objects.filter(pk=request.pk).update(
        status=Status.SENDING, finished_at=None, attempt_count=5, next_attempt_at=timezone.now()
    )


def claim_later(_: Exchange, request: CancelRequest) -> None:
    CancelRequest.objects.filter(pk=request.pk).update(
        status=Status.VERIFYING, finished_at=None, first_claimed_at=timezone.now(), reads=9
    )


def another_reason(_: Exchange, request: CancelRequest) -> None:
    CancelRequest.objects.filter(pk=request.pk).update(
        status=Status.REJECTED, reject_reason="ANOTHER <b>", open_after=None
    )


def reopen(_: Exchange, request: CancelRequest) -> None:
    CancelRequest.objects.filter(pk=request.pk).update(
        reopened_at=timezone.now(), reopened_orders=12
    )


def end_on_another_day(_: Exchange, request: CancelRequest) -> None:
    CancelRequest.objects.filter(pk=request.pk).update(
        finished_at=datetime(2025, 3, 4, 5, 6, 7, tzinfo=UTC)
    )


def be_of_another_person(_: Exchange, request: CancelRequest) -> None:
    request.batch.by_name = "Nora Novak (nora)"
    request.batch.save(update_fields=["by_name"])


def get_stuck(exchange: Exchange, request: CancelRequest) -> None:
    retry(exchange, request)
    Alarm.objects.create(
        kind=AlarmKind.STALLED,
        subject="stuck",
        exchange_id=exchange.exchange_id,
        title="Stuck",
        raised_at=timezone.now(),
    )


def hold(exchange: Exchange, request: CancelRequest) -> None:
    assert request.batch.by
    holding.start(request.batch.by, exchange)


CHANGES = [
    *(rename, limit, trade, never_list, lose_the_figure, see_only_the_others, see_again),
    *(press_again, retry, claim_later, another_reason, reopen, end_on_another_day),
    *(be_of_another_person, get_stuck, hold),
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_what_a_row_shows_is_shown(
    olga: User, change: Callable[[Exchange, CancelRequest], None]
) -> None:
    scenes.console(olga)
    exchange = Exchange.objects.get(exchange_id="COINBASE")
    request = exchange.requests.get()
    before = page()
    change(exchange, request)
    after = page()
    cached_markup._pieces.cache_clear()
    assert after != before
    assert after == page(), "as it is when nothing is cached"


@pytest.mark.parametrize("change", [retry, claim_later, another_reason, reopen, end_on_another_day])
def test_a_change_of_a_request_is_shown_in_its_batch(
    olga: User, change: Callable[[Exchange, CancelRequest], None]
) -> None:
    (exchange,) = factories.exchanges(1)
    batch = factories.press(olga, exchange)
    request = factories.bring(batch.requests.get(), Status.RESIDUAL)
    before = BatchPage.of(batch, user=olga).items
    change(exchange, request)
    after = BatchPage.of(batch, user=olga).items
    cached_markup._pieces.cache_clear()
    assert after != before
    assert after == BatchPage.of(batch, user=olga).items


def test_advice_that_is_over_goes_from_the_item_of_a_request(olga: User) -> None:
    exchange = factories.exchange("KRAKEN", contact="Desk 7")
    batch = factories.press(olga, exchange)
    factories.bring(batch.requests.get(), Status.REJECTED)
    request = batch.requests.select_related("batch", "configured_exchange").get()
    advised = RequestItems(advised={request.pk}).markup(request)
    assert "What to do now:" in advised
    assert "Desk 7" in advised
    assert "What to do now:" not in RequestItems(advised=()).markup(request)


def test_rows_that_differ_in_their_own_texts_are_rendered_once(olga: User) -> None:
    exchanges = factories.exchanges(50)
    batch = factories.press(olga, *exchanges)
    with counted() as counts:
        markup = page()
        items = "".join(BatchPage.of(batch, user=olga).items)
    assert counts["render"] < 10
    for exchange in exchanges:
        request = exchange.requests.get()
        own = (exchange.exchange_id, f"/exchanges/{exchange.pk}/", str(request.uuid))
        assert all(text in markup and text in items for text in own)
    assert "<!--" not in markup + items


def test_compliance_gets_no_button_that_was_rendered_for_an_officer(olga: User) -> None:
    scenes.console(olga)
    assert "cancel-all" in page()
    markup = page(Viewer(may_cancel=False, may_hold=False))
    assert "cancel-all" not in markup
    assert "/hold/" not in markup
    assert 'type="checkbox"' not in markup


def test_what_people_type_is_escaped(olga: User) -> None:
    name = "<!-- slot uuid --><b>&\u202e"
    factories.exchange("<i>", name=name, caveat=name, orders=3)
    markup = page()
    assert "<i>" not in markup
    assert "<!--" not in markup
    assert markup.count("&lt;!-- slot uuid --&gt;&lt;b&gt;&amp;\\u202e") == 3


def test_a_later_observation_renders_no_row_again_and_shows_its_time(olga: User) -> None:
    exchange = factories.exchange("KRAKEN", orders=3)
    page()
    later = timezone.now() + timedelta(seconds=2)
    Observation.objects.update(seen_at=later)
    Exchange.objects.update(seen_at=later)
    with counted() as counts:
        markup = page()
    assert counts["render"] == 0
    assert f"<time>{later:%H:%M:%S}</time>" in re.sub(r"<time\s*>", "<time>", markup)
    assert exchange.exchange_id in markup


def poll(client: Client, *, known: int, shown: str = "console") -> Any:
    fields = {"show": shown, "known": str(known)}
    return client.get("/poll/", fields, headers=HTMX)


def test_twenty_pages_that_see_the_same_change_render_it_once(
    officer: Client, olga: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console_poll, "SHARED", SharedNewest(max_age_s=math.inf))
    batch = factories.press(olga, *factories.exchanges(50))
    known = current()
    CancelRequest.objects.update(revision=next_revision())
    nora = factories.person(Role.RISK_OFFICER, username="nora", full_name="Nora Novak")
    of_nora = Client()
    of_nora.force_login(nora)
    first = html(poll(officer, known=known))
    with counted() as counts:
        for client in [officer, of_nora] * 10:
            assert html(poll(client, known=known)) == first
    assert counts["render"] == 20, "the revision alone, once for each page"
    with counted() as counts:
        for client in [officer, of_nora] * 10:
            assert f'id="batch-{batch.uuid}"' in html(
                poll(client, known=known, shown=f"batch:{batch.uuid}")
            )
    assert counts["render"] < 20 * 12 + 50, "each request once, not for each page"


def test_pages_with_other_revisions_render_only_the_rows_that_have_changed_since(
    officer: Client, olga: User
) -> None:
    exchanges = factories.exchanges(50)
    factories.press(olga, *exchanges)
    poll(officer, known=0)
    for exchange in exchanges[:5]:
        factories.change(exchange, open_orders=4711)
        with counted() as counts:
            assert 'data-exchange-id="VENUE50"' in html(poll(officer, known=0))
        assert counts["render"] < 15, "one row, its outcome, one line of the block, the panels"


def test_polls_of_one_moment_share_a_revision_and_miss_nothing(
    officer: Client, olga: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As while fifty cancels end, each with a revision of its own."""
    monkeypatch.setattr(console_poll, "SHARED", SharedNewest(max_age_s=math.inf))
    one, two = factories.exchanges(2)
    known = current()
    factories.change(one, open_orders=4711)
    first = poll(officer, known=known)
    factories.change(two, open_orders=4712)
    with counted() as counts:
        second = poll(officer, known=known)  # another page, which has as little
    assert (html(second), second["X-Seen-At"]) == (html(first), first["X-Seen-At"])
    assert counts["render"] == 1
    shared = int(re.findall('name="known" value="([0-9]+)"', html(second))[0])
    assert shared < current()
    assert "4,712" in html(poll(officer, known=shared)), "a page that has it gets the newest"


@pytest.mark.parametrize(
    ("since", "revision", "age_s", "is_shared"),
    [
        (5, 9, 0.1, True),
        (5, 7, 0.1, True),
        (5, 9, 0.5, False),  # too old
        (7, 9, 0.1, False),  # the page has it
        (8, 9, 0.1, False),  # the page has a newer one, of another process
        (5, 6, 0.1, False),  # another database
        (-1, 6, 0.1, False),
    ],
)
def test_only_what_is_new_to_a_page_is_shared_and_only_for_a_moment(
    since: int, revision: int, age_s: float, *, is_shared: bool
) -> None:
    shared_newest = SharedNewest(max_age_s=0.4)
    earlier = Newest(revision=7, observed_at=None, read_at=100.0)
    assert shared_newest.of(earlier, since=0) == earlier
    newest = Newest(revision=revision, observed_at=None, read_at=100.0 + age_s)
    assert shared_newest.of(newest, since=since) == (earlier if is_shared else newest)


def test_a_page_never_gets_the_answer_of_an_earlier_revision_or_observation(
    officer: Client, olga: User
) -> None:
    one, two = factories.exchanges(2)
    known = current()
    factories.change(one, open_orders=4711)
    assert "4,711" in html(poll(officer, known=known))
    factories.change(two, open_orders=4712)
    assert "4,712" in html(poll(officer, known=known))
    later = timezone.now() + timedelta(seconds=33)
    Observation.objects.update(seen_at=later)
    Exchange.objects.update(seen_at=later)
    assert f"{later:%H:%M:%S}" in html(poll(officer, known=known))
