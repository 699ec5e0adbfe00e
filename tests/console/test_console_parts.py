"""What the console shows is read and rendered once for the pages of a moment, and is never late."""

import math
import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from killswitch.accounts.models import User
from killswitch.alarms.models import Alarm, AlarmKind
from killswitch.alarms.services import raise_alarm
from killswitch.audit.recorder import recording
from killswitch.cancels.models import CancelRequest
from killswitch.cancels.states import Status
from killswitch.console import console_parts
from killswitch.console import poll as console_poll
from killswitch.console.newest import Newest, SharedNewest
from killswitch.exchanges.models import Exchange, Observation
from killswitch.holds.models import Hold
from killswitch.runtime import cached_markup
from killswitch.runtime.revisions import current, next_revision
from tests import factories
from tests.browser import scenes
from tests.console.press_helpers import HTMX
from tests.holds import holding
from tests.markup import html
from tests.rendering import counted

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]


@pytest.fixture
def one_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole test is the moment whose pages share a revision."""
    shared = SharedNewest(max_age_s=math.inf)
    for module in (console_poll, console_parts):
        monkeypatch.setattr(module, "SHARED", shared)


def poll(client: Client, *, known: int, shown: str = "console") -> Any:
    return client.get("/poll/", {"show": shown, "known": str(known)}, headers=HTMX)


def end_all(olga: User) -> None:
    """Let fifty cancels end, each at a time of its own and after a time of its own."""
    batch = factories.press(olga, *factories.exchanges(50))
    for number, request in enumerate(batch.requests.all()):
        factories.bring(request, Status.RESIDUAL, orders=1 + number % 7)
        finished_at = (request.finished_at or timezone.now()) + timedelta(seconds=1.1 * number)
        CancelRequest.objects.filter(pk=request.pk).update(finished_at=finished_at)
    Alarm.objects.all().delete()


def test_fifty_cancels_that_end_at_different_times_are_rendered_by_few_templates(
    officer: Client, olga: User
) -> None:
    end_all(olga)
    cached_markup._pieces.cache_clear()
    with counted() as counts, CaptureQueriesContext(connection) as queries:
        page = html(poll(officer, known=0))
    assert page.count("data-exchange-id") == 50
    assert len(set(re.findall(r"took [0-9.]+ s", page))) > 30
    # A row and its outcome, a line of the block, one of the latest cancels, the seven panels, and
    # the revision. What else is rendered is the parts of these.
    assert counts["render"] <= 11
    # Session, user, newest revision, changes, observation, the grid's three, uncovered ids, groups,
    # the four of the latest cancels.
    assert len(queries) <= 14


@pytest.mark.usefixtures("one_moment")
def test_pages_with_other_revisions_share_the_rows_and_panels(officer: Client, olga: User) -> None:
    one, two, three = factories.exchanges(3)
    factories.press(olga, one)
    known = current()
    factories.change(two, open_orders=4711)
    later = current()
    factories.change(three, open_orders=4712)
    assert html(poll(officer, known=known)).count("data-exchange-id") == 2
    with counted() as counts, CaptureQueriesContext(connection) as queries:
        part = html(poll(officer, known=later))
    assert re.findall(r'data-exchange-id="(\w+)"', part) == ["VENUE03"], "only what is new to it"
    assert "4,712" in part
    assert counts["render"] == 1, "the revision alone"
    assert len(queries) == 4, "session, user, newest revision, and what has changed since"
    with CaptureQueriesContext(connection) as queries:
        assert html(poll(officer, known=later)) == part
    assert len(queries) == 3


@pytest.mark.usefixtures("one_moment")
def test_a_page_that_is_loaded_reads_no_row_that_another_one_has_just_read(
    officer: Client, olga: User
) -> None:
    scenes.sixty(olga)
    first = html(officer.get("/"))
    with counted() as counts, CaptureQueriesContext(connection) as queries:
        second = html(officer.get("/"))

    def rows(page: str) -> str:
        return page[page.index('<tbody id="rows"') : page.index("</tbody>")]

    assert rows(first) == rows(second)
    assert not [query for query in queries if "cancels_" in query["sql"]]
    assert len(queries) <= 8
    assert counts["render"] < 30


@pytest.mark.usefixtures("one_moment")
def test_a_page_that_is_loaded_is_of_the_newest_revision_and_observation(officer: Client) -> None:
    one, _ = factories.exchanges(2)
    officer.get("/")
    factories.change(one, open_orders=4711)
    page = html(officer.get("/"))
    assert "4,711" in page
    assert f'data-revision="{current()}"' in page
    later = timezone.now() + timedelta(seconds=33)
    Observation.objects.update(seen_at=later)
    Exchange.objects.update(seen_at=later)
    assert f"{later:%H:%M:%S}" in html(officer.get("/"))


@pytest.mark.usefixtures("one_moment")
def test_times_under_a_hold_are_read_for_each_page_that_is_loaded(
    officer: Client, olga: User
) -> None:
    one, _ = factories.exchanges(2)
    holding.start(olga, one)
    assert "hidden>· last read" not in html(officer.get("/"))
    # The enforcement writes this every second, and raises no revision.
    Hold.objects.update(last_read_at=timezone.now() - timedelta(minutes=3))
    assert "not enforced? last read 3 min ago" in html(officer.get("/"))


@pytest.mark.usefixtures("one_moment")
def test_compliance_shares_what_is_read_and_not_what_is_rendered(
    officer: Client, compliance: Client, olga: User
) -> None:
    scenes.console(olga)
    known = current()
    CancelRequest.objects.update(revision=next_revision())
    assert "cancel-all" in html(officer.get("/"))
    assert "cancel-all" in html(poll(officer, known=known))
    for part in (html(compliance.get("/")), html(poll(compliance, known=known))):
        assert "data-exchange-id" in part
        assert "cancel-all" not in part
        assert "/hold/" not in part
    assert "cancel-all" in html(officer.get("/"))


@pytest.mark.usefixtures("one_moment")
def test_an_alarm_or_a_hold_does_not_wait_for_the_moment_to_end(
    officer: Client, olga: User
) -> None:
    one, two = factories.exchanges(2)
    known = current()
    factories.change(one, open_orders=4711)
    shared = html(poll(officer, known=known))
    assert 'id="alarms"' not in shared
    with recording():
        raise_alarm(kind=AlarmKind.EVIDENCE, subject="x", title="A break")
    holding.start(olga, two)
    part = html(poll(officer, known=known))
    assert "A break" in part
    assert "<b>1 <span" in part[part.index('id="held"') :]


@pytest.mark.parametrize(
    ("revision", "age_s", "is_shared"),
    [
        (7, 0.1, True),
        (7, 0.5, False),  # too old
        (8, 0.1, False),  # something has changed
        (6, 0.1, False),  # another database
    ],
)
def test_a_page_shares_what_was_read_of_the_same_revision(
    revision: int, age_s: float, *, is_shared: bool
) -> None:
    shared_newest = SharedNewest(max_age_s=0.4)
    earlier = Newest(revision=7, observed_at=None, read_at=100.0)
    assert shared_newest.same_as(earlier) == earlier
    newest = Newest(revision=revision, observed_at=None, read_at=100.0 + age_s)
    assert shared_newest.same_as(newest) == (earlier if is_shared else newest)


def test_a_page_does_not_share_what_was_read_before_the_newest_observation() -> None:
    shared_newest = SharedNewest(max_age_s=0.4)
    earlier = Newest(revision=7, observed_at=None, read_at=100.0)
    shared_newest.same_as(earlier)
    newest = Newest(revision=7, observed_at=timezone.now(), read_at=100.1)
    assert shared_newest.same_as(newest) == newest
