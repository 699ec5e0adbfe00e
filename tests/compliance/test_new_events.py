"""The page's one poller announces new events, only to users who may read the log."""

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
from killswitch.audit.models import EventKind, Verification
from killswitch.compliance.new_events import NewEvents
from tests import factories
from tests.audit import request_factories
from tests.audit.log import record
from tests.audit.request_factories import START
from tests.markup import html

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]
HTMX = {"HX-Request": "true"}


def poll_values(text: str) -> dict[str, str]:
    """Return what a page, or an answer to its poller, sends with the next poll."""
    revision = re.search(r'name="known" value="(-?\d+)"', text)
    show = re.search(r'name="show" value="(log:[^"]*)"', text)
    assert show, text
    return {"known": revision[1] if revision else "", "show": show[1].replace("&amp;", "&")}


def poll(reader: Client, values: dict[str, str]) -> Any:
    return reader.get("/poll/", values, headers=HTMX)


def test_new_events_are_counted_and_a_quiet_log_answers_204(reader: Client) -> None:
    request_factories.denied(START)
    values = poll_values(html(reader.get("/audit/")))
    assert poll(reader, values).status_code == 204
    record(*(NewEvent(kind=EventKind.SIGNED_IN) for _ in range(3)))
    answer = poll(reader, values)
    text = html(answer)
    assert answer.status_code == 200
    assert ">3 new events</a>" in text
    assert 'id="news"' in text
    assert poll(reader, poll_values(text)).status_code == 204
    record(NewEvent(kind=EventKind.SIGNED_IN))
    assert ">4 new events</a>" in html(poll(reader, poll_values(text)))


def test_only_events_that_the_filter_selects_are_announced(reader: Client) -> None:
    request_factories.denied(START)
    values = poll_values(html(reader.get("/audit/?kind=DENIED&text=a%26b")))
    record(
        NewEvent(kind=EventKind.SIGNED_IN), NewEvent(kind=EventKind.DENIED, data={"path": "/x/"})
    )
    assert poll(reader, values).status_code == 204
    record(NewEvent(kind=EventKind.DENIED, data={"path": "/a&b/"}))
    text = html(poll(reader, values))
    assert ">1 new event</a>" in text
    assert 'href="/audit/?kind=DENIED&amp;text=a%26b"' in text


def test_many_new_events_are_counted_only_up_to_a_limit(reader: Client) -> None:
    values = poll_values(html(reader.get("/audit/")))
    record(*(NewEvent(kind=EventKind.SIGNED_IN) for _ in range(150)))
    text = html(poll(reader, values))
    assert ">99+ new events</a>" in text
    record(NewEvent(kind=EventKind.SIGNED_IN))
    assert poll(reader, poll_values(text)).status_code == 204


def test_a_new_verification_renews_the_badge(reader: Client) -> None:
    request_factories.denied(START)
    values = poll_values(html(reader.get("/audit/")))
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
    text = html(poll(reader, values))
    assert 'id="badge"' in text
    assert "Verified" in text
    assert poll(reader, poll_values(text)).status_code == 204


def test_an_expired_session_is_answered_401(reader: Client) -> None:
    values = poll_values(html(reader.get("/audit/")))
    record(NewEvent(kind=EventKind.SIGNED_IN))
    assert poll(Client(), values).status_code == 401


def test_new_events_are_not_announced_to_an_officer(reader: Client) -> None:
    values = poll_values(html(reader.get("/audit/")))
    record(NewEvent(kind=EventKind.SIGNED_IN))
    officer = Client()
    officer.force_login(factories.person(Role.RISK_OFFICER))
    assert poll(officer, values).status_code == 204


NUMBERS = st.one_of(st.integers(min_value=0), st.just(""))


@given(
    st.one_of(
        st.text(max_size=60),
        st.builds("{}:{}:{}?{}".format, NUMBERS, NUMBERS, NUMBERS, st.text(max_size=40)),
    )
)
def test_invalid_values_are_ignored(text: str) -> None:
    state = NewEvents.known(text)
    assert state is None or NewEvents.known(state.text) == state


def test_the_state_of_a_page_survives_the_round_trip() -> None:
    state = NewEvents(
        selection=EventFilter(text="a&b=ü", kind="DENIED"), since=7, count=2, verified_at=9
    )
    assert NewEvents.known(state.text) == state
