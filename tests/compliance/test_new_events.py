"""New events announce themselves through the page's one poller, and only to who may read them."""

import re
from typing import Any

import pytest
from django.db.models.functions import Now
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from killswitch.accounts.models import Role
from killswitch.audit import chain
from killswitch.audit.chain import NewEvent
from killswitch.audit.filters import EventFilter
from killswitch.audit.models import Kind, Verification
from killswitch.compliance.new_events import NewEvents
from tests.accounts.people import make
from tests.audit import request_factories
from tests.audit.request_factories import START
from tests.markup import html

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]
HTMX = {"HX-Request": "true"}


def shown(text: str) -> dict[str, str]:
    """What a page, or an answer to its poller, sends with the next poll."""
    known = re.search(r'name="known" value="(-?\d+)"', text)
    show = re.search(r'name="show" value="(log:[^"]*)"', text)
    assert show, text
    return {"known": known[1] if known else "", "show": show[1].replace("&amp;", "&")}


def poll(reader: Client, sent: dict[str, str]) -> Any:
    return reader.get("/poll/", sent, headers=HTMX)


def test_new_events_are_counted_and_a_quiet_log_answers_with_nothing(reader: Client) -> None:
    request_factories.denied(START)
    sent = shown(html(reader.get("/audit/")))
    assert poll(reader, sent).status_code == 204
    chain.record(*(NewEvent(kind=Kind.SIGNED_IN) for _ in range(3)))
    answer = poll(reader, sent)
    text = html(answer)
    assert answer.status_code == 200
    assert ">3 new events</a>" in text
    assert 'id="news"' in text
    assert poll(reader, shown(text)).status_code == 204
    chain.record(NewEvent(kind=Kind.SIGNED_IN))
    assert ">4 new events</a>" in html(poll(reader, shown(text)))


def test_only_what_the_filter_selects_is_news(reader: Client) -> None:
    request_factories.denied(START)
    sent = shown(html(reader.get("/audit/?kind=DENIED&text=a%26b")))
    chain.record(NewEvent(kind=Kind.SIGNED_IN), NewEvent(kind=Kind.DENIED, data={"path": "/x/"}))
    assert poll(reader, sent).status_code == 204
    chain.record(NewEvent(kind=Kind.DENIED, data={"path": "/a&b/"}))
    text = html(poll(reader, sent))
    assert ">1 new event</a>" in text
    assert 'href="/audit/?kind=DENIED&amp;text=a%26b"' in text


def test_many_are_counted_no_further_than_needed(reader: Client) -> None:
    sent = shown(html(reader.get("/audit/")))
    chain.record(*(NewEvent(kind=Kind.SIGNED_IN) for _ in range(150)))
    text = html(poll(reader, sent))
    assert ">99+ new events</a>" in text
    chain.record(NewEvent(kind=Kind.SIGNED_IN))
    assert poll(reader, shown(text)).status_code == 204


def test_a_verification_that_ended_meanwhile_renews_the_badge(reader: Client) -> None:
    request_factories.denied(START)
    sent = shown(html(reader.get("/audit/")))
    head = chain.head()
    Verification.objects.create(
        id=1,
        at=Now(),
        ok=True,
        head_seq=1,
        head_hash=head.hash,
        whole_at=Now(),
        whole_seq=1,
    )
    text = html(poll(reader, sent))
    assert 'id="badge"' in text
    assert "Verified" in text
    assert poll(reader, shown(text)).status_code == 204


def test_an_expired_session_is_told_and_nothing_else(reader: Client) -> None:
    sent = shown(html(reader.get("/audit/")))
    chain.record(NewEvent(kind=Kind.SIGNED_IN))
    assert poll(Client(), sent).status_code == 401


def test_an_officer_gets_no_news_of_the_log(reader: Client) -> None:
    sent = shown(html(reader.get("/audit/")))
    chain.record(NewEvent(kind=Kind.SIGNED_IN))
    officer = Client()
    officer.force_login(make(Role.RISK_OFFICER))
    assert poll(officer, sent).status_code == 204


@given(st.one_of(st.text(max_size=60), st.from_regex(r"[0-9]*:[0-9]*:[0-9]*\?.*", fullmatch=True)))
def test_nonsense_is_no_news(text: str) -> None:
    known = NewEvents.known(text)
    assert known is None or NewEvents.known(known.text) == known


def test_what_a_page_knows_survives_the_way_there_and_back() -> None:
    known = NewEvents(
        selection=EventFilter(text="a&b=ü", kind="DENIED"), since=7, count=2, verified_at=9
    )
    assert NewEvents.known(known.text) == known
