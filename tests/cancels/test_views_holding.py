"""The choice between "Cancel once" and "Cancel and hold", which no answer loses or invents."""

import re
from typing import Any

import pytest
from django.http import QueryDict
from django.test import Client

from killswitch.accounts.models import User
from killswitch.cancels.confirmation import wants_hold
from killswitch.cancels.models import Batch, CancelRequest, Origin
from killswitch.cancels.states import Status
from killswitch.holds.models import Hold
from tests import factories
from tests.console.press_helpers import EVERYWHERE, HTMX, key_in, path_of, press, question
from tests.failures import full_log
from tests.holds import holding
from tests.markup import html

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]
LIMITS = (
    "Hold cancels what it sees on the EMS's list. It does not block new orders, and cannot stop"
    " one that fills at once."
)
ONCE = '<input type="radio" name="hold" value="once" checked>'
HOLD = '<input type="radio" name="hold" value="hold" checked>'


def words(page: str) -> str:
    """Return what a person reads on a page."""
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))
    return re.sub(r" (?=[.,:])", "", text)


def carried(page: str) -> list[str]:
    """Return what the forms of a page that send again carry."""
    return re.findall(r'<input type="hidden" name="hold" value="(\w+)">', page)


@pytest.mark.parametrize("headers", [{}, HTMX])
def test_once_is_the_default_for_one_for_some_and_for_all(
    officer: Client, headers: dict[str, str]
) -> None:
    one, two, _ = factories.exchanges(3)
    some = f"{EVERYWHERE}?exchange={one.pk}&exchange={two.pk}"
    for path in (path_of(one), some, EVERYWHERE):
        page = html(officer.get(path, headers=headers))
        assert ONCE in page
        assert HOLD not in page
        assert "until two risk officers release it" in page
        assert LIMITS in page.replace("&#x27;", "'")


def test_at_a_desk_of_one_it_says_who_can_release(officer: Client, settings: Any) -> None:
    settings.HOLD_RELEASE_PERSONS = 1
    page = question(officer, path_of(factories.exchange("KRAKEN")))
    assert "until a risk officer releases it" in page


@pytest.mark.parametrize(
    ("query", "is_hold"),
    [
        ("", False),
        ("hold=once", False),
        ("hold=hold", True),
        ("hold=HOLD", False),
        ("hold=", False),
        ("hold=nonsense", False),
        ("hold=hold&hold=hold", False),
        ("hold=hold&hold=once", False),
        ("hold=%00", False),
    ],
)
def test_only_one_clear_value_means_hold_and_none_refuses_a_kill(
    officer: Client, query: str, is_hold: bool
) -> None:
    exchange = factories.exchange("KRAKEN")
    assert wants_hold(QueryDict(query)) == is_hold
    assert (HOLD if is_hold else ONCE) in html(officer.get(f"{path_of(exchange)}?{query}"))
    values = QueryDict(query).getlist("hold")
    assert press(officer, path_of(exchange), hold=values).status_code == 202
    assert Batch.objects.get().hold == is_hold
    assert Hold.objects.exists() == is_hold


def test_some_exchanges_and_all_of_them_are_held_by_one_press(officer: Client) -> None:
    one, two, three = factories.exchanges(3)
    path = f"{EVERYWHERE}?exchange={one.pk}&exchange={two.pk}"
    page = html(press(officer, path, hold="hold"))
    assert "2 exchanges are held now: VENUE01, VENUE02." in words(page)
    page = html(press(officer, EVERYWHERE, hold="hold", reason="Drill"))
    assert "Already held, unchanged:" in page
    assert page.count("by Olga Ray)") == 2
    assert Hold.objects.count() == 3
    assert Hold.objects.get(configured_exchange=three).batch == Batch.objects.get(everywhere=True)
    assert LIMITS in page.replace("&#x27;", "'")


def test_many_that_were_held_already_are_folded(officer: Client) -> None:
    factories.exchanges(9)
    press(officer, EVERYWHERE, hold="hold")
    page = html(press(officer, EVERYWHERE, hold="hold"))
    assert re.search(
        r"<summary>\s*<b>Already held, unchanged:</b>\s*9 exchanges\s*</summary>", page
    )
    assert page.count("by Olga Ray)") == 9


def test_a_press_once_says_nothing_of_holds(officer: Client, olga: User) -> None:
    exchange = factories.exchange("KRAKEN")
    holding.start(olga, exchange)
    assert "holds-of-batch" not in html(press(officer, path_of(exchange)))


def test_the_page_of_a_press_says_what_has_been_released_since(officer: Client, olga: User) -> None:
    one, two = factories.exchanges(2)
    batch = factories.press(olga, one, two, hold=True)
    hold = Hold.objects.get(configured_exchange=one)
    holding.release(hold, requested_by=olga, confirmed_by=holding.ivan())
    page = html(officer.get(f"/batches/{batch.uuid}/"))
    assert "1 exchange is held now:" in page
    assert re.search(r"Held with this cancel, released since:</b> ?<code>VENUE01</code>", page)


def test_it_says_what_is_held_already(officer: Client, olga: User) -> None:
    one, two, three = factories.exchanges(3)
    assert "held already" not in question(officer, path_of(one))
    hold = holding.start(olga, one)
    since = f"VENUE01 is held already, since {hold.started_at:%H:%M:%S}, by Olga Ray."
    assert since in question(officer, path_of(one))
    assert "held already" not in question(officer, path_of(two))
    assert "1 of these exchanges is held already." in question(officer, EVERYWHERE)
    holding.start(olga, two)
    assert "2 of these exchanges are held already." in question(officer, EVERYWHERE)
    holding.start(olga, three)
    assert "All of these exchanges are held already." in question(officer, EVERYWHERE)


@pytest.mark.parametrize("choice", ["once", "hold"])
@pytest.mark.parametrize("htmx", [True, False])
def test_the_choice_is_carried_by_every_answer_that_offers_to_send_again(
    officer: Client, choice: str, htmx: bool
) -> None:
    path = path_of(factories.exchange("KRAKEN"))
    checked = HOLD if choice == "hold" else ONCE
    and_hold = choice == "hold"
    # The key was not valid.
    assert checked in html(press(officer, path, key="forged", hold=choice, htmx=htmx))
    # The log cannot be written.
    with full_log():
        page = html(press(officer, path, hold=choice, htmx=htmx))
    assert carried(page) == [choice]
    assert ("Send again and hold" in page) == and_hold
    # The same form, sent again.
    key = key_in(question(officer, path))
    press(officer, path, key=key, hold=choice, htmx=htmx)
    page = html(press(officer, path, key=key, hold=choice, htmx=htmx))
    assert choice in carried(page)
    assert ("Send a new cancel and hold" in page) == and_hold
    # The outcome is bad.
    batch = Batch.objects.get()
    factories.bring(batch.requests.get(), Status.REJECTED)
    page = html(officer.get(f"/batches/{batch.uuid}/"))
    assert carried(page) == [choice]
    assert ("Retry now on KRAKEN and hold" in page) == and_hold


@pytest.mark.parametrize("choice", ["once", "hold"])
def test_an_old_token_and_an_ended_session_lose_no_choice(olga: User, choice: str) -> None:
    path = path_of(factories.exchange("KRAKEN"))
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(olga)
    page = html(strict.post(path, {"hold": choice}, headers=HTMX))
    assert (HOLD if choice == "hold" else ONCE) in page
    answer = Client().post(path, {"hold": choice}, headers=HTMX)
    assert ("hold%3Dhold" in answer["X-Sign-In"]) == (choice == "hold")
    assert Batch.objects.count() == 0


def test_a_repeated_press_with_another_choice_says_which_one_was_recorded(
    officer: Client,
) -> None:
    path = path_of(factories.exchange("KRAKEN"))
    key = key_in(question(officer, path))
    press(officer, path, key=key, hold="once")
    page = html(press(officer, path, key=key, hold="hold"))
    assert "It was recorded as “Cancel once”, so it did not start a Hold." in page
    assert not Hold.objects.exists()
    key = key_in(question(officer, path))
    press(officer, path, key=key, hold="hold")
    page = html(press(officer, path, key=key, hold="once"))
    assert "It was recorded as “Cancel and hold”." in page


def test_what_a_hold_cancels_names_the_hold_as_the_requester(officer: Client, olga: User) -> None:
    exchange = factories.exchange("KRAKEN")
    hold = holding.start(olga, exchange)
    batch = factories.press(olga, exchange)
    Batch.objects.update(by=None, by_name="system", by_role="", origin=Origin.HOLD)
    request = CancelRequest.objects.get()
    under = "System, under the Hold of Olga Ray"
    sentence = "System, under a Hold"
    assert sentence in html(officer.get(f"/batches/{batch.uuid}/"))
    hold.episodes.create(request=request, number=1)
    assert under in html(officer.get(f"/batches/{batch.uuid}/"))
    page = html(officer.get(f"/requests/{request.uuid}/"))
    assert page.count(under) == 2  # among the facts, and in the timeline
    assert "System" in words(html(officer.get("/requests/?by=holds")))
    Hold.objects.update(episode_count=1)
    assert "System · under a Hold" in words(html(officer.get("/")))
    Batch.objects.update(reason="Hold by Olga Ray (olga)")
    assert "System · under the Hold of Olga Ray" in words(html(officer.get("/")))
    page = words(html(officer.get(f"/batches/{batch.uuid}/")))
    assert page.count("under the Hold of Olga Ray") == 1
