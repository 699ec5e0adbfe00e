"""What the pages say to do now about an outcome, and when they no longer do."""

from datetime import timedelta

import pytest
from django.test import Client

from killswitch.accounts.models import User
from killswitch.cancels.models import CancelRequest
from killswitch.cancels.states import FINAL, Status
from killswitch.cancels.status_help import ADVICE_FOR_S, ALL_STATUSES, STATUS_HELP, advised
from killswitch.cancels.status_help import status_help as help_of
from tests import factories
from tests.holds import holding
from tests.markup import html

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]


def ended(olga: User, name: str, status: Status) -> CancelRequest:
    request = factories.press(olga, factories.exchange(name)).requests.get()
    factories.bring(request, status)
    request.refresh_from_db()
    return request


def test_every_status_has_a_meaning_and_an_action_of_its_own() -> None:
    assert set(STATUS_HELP) == set(Status)
    for texts in ({entry.meaning for entry in ALL_STATUSES}, {e.action for e in ALL_STATUSES}):
        assert len(texts) == len(ALL_STATUSES)
        assert all(text.endswith(".") for text in texts)
    assert len({entry.name for entry in ALL_STATUSES}) == len(ALL_STATUSES)


@pytest.mark.parametrize("status", sorted(FINAL - {Status.CONFIRMED}))
def test_orders_are_taken_to_be_open_unless_the_outcome_proves_the_contrary(
    status: Status,
) -> None:
    text = STATUS_HELP[status].meaning + STATUS_HELP[status].action
    assert "open" in text
    assert "Retry" in text or "retry" in text
    assert "at the exchange" in text


@pytest.mark.parametrize("status", sorted(FINAL))
def test_the_page_of_a_request_says_what_to_do_now(
    officer: Client, olga: User, status: Status
) -> None:
    request = ended(olga, "KRAKEN", status)
    page = html(officer.get(f"/requests/{request.uuid}/"))
    assert STATUS_HELP[status].action in page
    assert f'href="/help/#status-{status}"' in page


def test_a_request_in_flight_says_its_progress_only(officer: Client, olga: User) -> None:
    request = ended(olga, "KRAKEN", Status.SENDING)
    page = html(officer.get(f"/requests/{request.uuid}/"))
    assert "What to do now" not in page


def test_a_result_says_it_of_what_was_not_confirmed(officer: Client, olga: User) -> None:
    batch = factories.press(olga, *factories.exchanges(3))
    statuses = (Status.CONFIRMED, Status.REJECTED, Status.UNKNOWN)
    for request, status in zip(batch.requests.order_by("id"), statuses, strict=True):
        factories.bring(request, status)
    page = html(officer.get(f"/batches/{batch.uuid}/"))
    assert page.count("What to do now") == 2
    assert STATUS_HELP[Status.UNKNOWN].action in page
    assert STATUS_HELP[Status.CONFIRMED].action not in page


def test_orders_that_are_open_again_have_their_own_advice(officer: Client, olga: User) -> None:
    request = ended(olga, "KRAKEN", Status.CONFIRMED)
    factories.look_again(request, after_s=5, orders=3)
    request.refresh_from_db()
    assert help_of(request).name == "status-open-again"
    page = html(officer.get(f"/requests/{request.uuid}/"))
    assert "#status-open-again" in page
    assert STATUS_HELP[Status.CONFIRMED].action not in page


def test_an_old_request_gives_no_advice_and_keeps_its_link(officer: Client, olga: User) -> None:
    request = ended(olga, "KRAKEN", Status.REJECTED)
    assert advised([request]) == {request.pk}
    assert request.finished_at
    request.finished_at -= timedelta(seconds=ADVICE_FOR_S + 1)
    request.save(update_fields=["finished_at"])
    assert advised([request]) == set()
    page = html(officer.get(f"/requests/{request.uuid}/"))
    assert "What to do now" not in page
    assert 'href="/help/#status-REJECTED"' in page


def test_a_newer_request_on_the_exchange_ends_the_advice(olga: User) -> None:
    old = ended(olga, "KRAKEN", Status.REJECTED)
    factories.press(olga, old.configured_exchange)
    other = ended(olga, "GEMINI", Status.UNKNOWN)
    assert advised([old, other]) == {other.pk}


def test_a_request_of_a_hold_gives_no_advice(olga: User) -> None:
    request = ended(olga, "KRAKEN", Status.RESIDUAL)
    holding.start(olga, request.configured_exchange)
    type(request.batch).objects.update(origin="HOLD")
    request.refresh_from_db()
    assert advised([request]) == set()


def test_advice_takes_one_query(olga: User, django_assert_num_queries: object) -> None:
    batch = factories.press(olga, *factories.exchanges(5))
    for request in batch.requests.all():
        factories.bring(request, Status.REJECTED)
    requests = list(batch.requests.select_related("batch"))
    with django_assert_num_queries(1):  # type: ignore[operator]
        assert len(advised(requests)) == 5
