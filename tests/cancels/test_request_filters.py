"""The filter of the list of requests: what each field selects, and what it refuses."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.http import QueryDict
from django.test.utils import CaptureQueriesContext

from killswitch.accounts.models import Role, User
from killswitch.cancels import request_filters
from killswitch.cancels.models import Batch, CancelRequest, Origin
from killswitch.cancels.request_filter_fields import Choices
from killswitch.cancels.request_filters import RequestFilter
from killswitch.cancels.request_outcomes import NOT_CONFIRMED, OUTCOMES, outcome_name
from killswitch.cancels.states import Status
from killswitch.runtime.filter_values import InvalidFilter
from tests import factories
from tests.plans import plan

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]


def selected(query: str) -> RequestFilter:
    return RequestFilter.from_query(QueryDict(query), choices=Choices.now())


def found(query: str) -> list[str]:
    """Return the exchanges of the matching requests; the batches must be those of them."""
    selection = selected(query)
    requests = list(selection.requests().order_by("id"))
    assert {row.batch_id for row in requests} == {row.pk for row in selection.batches()}, query
    return [row.exchange_id for row in requests]


def errors(query: str) -> dict[str, str]:
    with pytest.raises(InvalidFilter) as refused:
        selected(query)
    return dict(refused.value.errors)


def every_outcome(olga: User) -> list[CancelRequest]:
    """Make a request of each status, one that was reopened, and one refused while flat."""
    made = []
    for number, status in enumerate(Status):
        request = factories.press(olga, factories.exchange(f"S{number}")).requests.get()
        made.append(factories.bring(request, status))
    request = factories.press(olga, factories.exchange("REOPENED")).requests.get()
    factories.look_again(factories.bring(request, Status.CONFIRMED), after_s=12, orders=1)
    made.append(request)
    request = factories.press(olga, factories.exchange("FLAT")).requests.get()
    made.append(factories.bring(request, Status.REJECTED, orders=0))
    request = factories.press(olga, factories.exchange("NEVER")).requests.get()
    made.append(factories.bring(request, Status.CONFIRMED))
    CancelRequest.objects.filter(pk=request.pk).update(
        conclusion="As far as this console knows, the EMS has never listed an order of NEVER."
    )
    return list(CancelRequest.objects.order_by("id"))


def of_hold(request: CancelRequest) -> None:
    Batch.objects.filter(pk=request.batch_id).update(origin=Origin.HOLD, by_name="system")


def test_each_request_has_one_outcome_and_not_confirmed_is_what_needs_attention(
    olga: User,
) -> None:
    made = every_outcome(olga)
    for request in made:
        names = [
            name
            for name, choice in OUTCOMES.items()
            if CancelRequest.objects.filter(choice.condition, pk=request.pk).exists()
        ]
        assert names[-1] == outcome_name(request)
        group = {True: "not_confirmed", False: "in_progress"}
        in_group = request.needs_attention or not request.is_final
        assert names[:-1] == [group[request.needs_attention]] * in_group
        is_bad = CancelRequest.objects.filter(NOT_CONFIRMED, pk=request.pk).exists()
        assert is_bad == request.needs_attention
        assert not OUTCOMES[names[-1]].is_failure or request.needs_attention
    assert {outcome_name(request) for request in made} == OUTCOMES.keys() - {
        "not_confirmed",
        "in_progress",
    }


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_requests_of_holds_are_left_out_only_if_they_did_not_fail(olga: User, outcome: str) -> None:
    for request in every_outcome(olga):
        of_hold(request)
    failed = {row.exchange_id for row in CancelRequest.objects.filter(NOT_CONFIRMED)}
    for query in ("", f"outcome={outcome}", f"outcome={outcome}&exchange=S"):
        shown = set(found(query))
        everything = set(found(f"{query}&by=all"))
        assert shown == everything & failed
        assert selected(query).left_out().count() == len(everything - shown)
        assert set(found(f"{query}&by=holds")) == everything
        assert found(f"{query}&by=people-only") == []


@pytest.mark.parametrize(
    ("query", "days"),
    [
        ("", [0, 1, 6, 7, 40]),
        ("period=today", [0]),
        ("period=Yesterday", [1]),
        ("period=week", [0, 1, 6]),
        ("period=custom&from={6}&to={1}", [1, 6]),
        ("from={6}", [0, 1, 6]),
        ("to={6}", [6, 7, 40]),
        ("period=today&from={7}&to={6}", [6, 7]),
        ("from=0001-01-01&to=9999-12-31", [0, 1, 6, 7, 40]),
    ],
)
def test_days_are_whole_and_in_utc(olga: User, query: str, days: list[int]) -> None:
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    for ago in (0, 1, 6, 7, 40):
        for name, at in (("FIRST", timedelta(0)), ("LAST", timedelta(days=1, microseconds=-1))):
            batch = factories.press(olga, factories.exchange(f"{name}{ago}"))
            Batch.objects.filter(pk=batch.pk).update(asked_at=midnight - timedelta(days=ago) + at)
    for ago in range(41):
        query = query.replace(f"{{{ago}}}", str((midnight - timedelta(days=ago)).date()))
    assert sorted(found(query)) == sorted(
        f"{name}{ago}" for ago in days for name in ("FIRST", "LAST")
    )


def test_people_exchanges_and_reasons_are_found_in_any_case_by_a_part(olga: User) -> None:
    ivan = factories.person(Role.RISK_OFFICER, username="ivan", full_name="Iván Petrov")
    factories.press(olga, factories.exchange("KRAKEN/JOHN", name="Kraken Jöhn"), reason="Köln 50%")
    factories.press(ivan, factories.exchange("BITMEX"), reason="Runaway algorithm")
    batch = factories.press(olga, factories.exchange("GEMINI"))
    Batch.objects.filter(pk=batch.pk).update(completed_reason="Limit_breach")
    Batch.objects.filter(pk=batch.pk).update(by_name="os:root", origin=Origin.COMMAND_LINE)
    bitmex = CancelRequest.objects.get(exchange_id="BITMEX")
    Batch.objects.filter(pk=bitmex.batch_id).update(group_name="Desk A (EU)")
    pk = bitmex.configured_exchange_id
    for query, exchanges in {
        "person=olga": ["KRAKEN/JOHN"],
        "person=Olga Ray (olga)": ["KRAKEN/JOHN"],
        "person=IVÁN": ["BITMEX"],
        "person=os:root": ["GEMINI"],
        "person=command line": ["GEMINI"],
        "exchange=kraken": ["KRAKEN/JOHN"],
        "exchange=jÖHN": ["KRAKEN/JOHN"],
        "exchange=BITMEX": ["BITMEX"],
        f"exchange={pk}": ["BITMEX"],
        "reason=KÖLN": ["KRAKEN/JOHN"],
        "reason=limit_": ["GEMINI"],
        "reason=50%25": ["KRAKEN/JOHN"],
        "reason=%25": ["KRAKEN/JOHN"],
        "reason=r.n": [],
        "reason=RUNAWAY&person=olga": [],
        "reason=+runaway+": ["BITMEX"],
        "q=runaway": ["BITMEX"],
        "q=petrov": ["BITMEX"],
        "q=john": ["KRAKEN/JOHN"],
        "q=köln": ["KRAKEN/JOHN"],
        "q=breach": ["GEMINI"],
        "q=desk a (eu)": ["BITMEX"],
        "q=command": ["GEMINI"],
        "q=nothing of this": [],
    }.items():
        assert found(query) == exchanges, query
    assert selected("person=r").as_data() == {"person": "r"}, "all whose names contain it"


def test_the_search_finds_reject_reasons_and_whole_ids_of_orders_left_open(olga: User) -> None:
    first = factories.press(olga, *factories.exchanges(2)).requests.order_by("id")
    factories.bring(first[0], Status.REJECTED)
    factories.bring(first[1], Status.RESIDUAL)
    assert found("q=unreachable") == ["VENUE01"]
    assert found("q=exchange.unreachable") == found("q=unreachable)") == []
    assert found("q=3456456755") == ["VENUE01", "VENUE02"]
    assert found("q=345645675") == []
    assert found("q=6AB36BC1-344d-432e-ac6d-0bf44ee60001") == ["VENUE01", "VENUE02"]
    first[1].residual_orders.update(exchange_order_id="OQ-7Kb", client_order_id="OQ-8KB")
    assert found("q=OQ-7Kb") == found("q=oq-8kb") == ["VENUE02"]


def test_fields_are_combined_on_the_same_request(olga: User) -> None:
    rows = factories.press(olga, *factories.exchanges(2)).requests.order_by("id")
    factories.bring(rows[0], Status.REJECTED)
    factories.bring(rows[1], Status.CONFIRMED)
    assert found("exchange=VENUE01&outcome=not_confirmed") == ["VENUE01"]
    assert found("exchange=VENUE02&outcome=not_confirmed") == []
    assert found("outcome=NOT_CONFIRMED") == ["VENUE01"]
    selection = selected("period=Last 7 days&outcome=Not Confirmed&by=People and Holds")
    assert selection.to_query() == "period=week&outcome=not_confirmed&by=all"


@pytest.mark.parametrize(
    ("query", "field", "words"),
    [
        ("outcome=confirmd", "outcome", "Did you mean “Confirmed, none open” or “Not confirmed”?"),
        ("outcome=failed", "outcome", "“failed” is not an outcome."),
        ("period=lastweek", "period", "“lastweek” is not a period. Did you mean “Last 7 days”?"),
        ("period=custom", "from", "Enter the first day, the last day, or both."),
        ("from=28.11.2026", "from", "“28.11.2026” is not a day. Write it as 2026-11-28."),
        ("to=2026-02-30", "to", "“2026-02-30” is not a day."),
        (
            "from=2026-11-28&to=2026-11-27",
            "to",
            "To: The range is empty. Choose an earlier start or a later end.",
        ),
        (
            "person=olgb",
            "person",
            "No user called “olgb” has requested a cancel. Did you mean “Olga",
        ),
        ("exchange=KRAKN", "exchange", "“KRAKN”. Did you mean “KRAKEN”?"),
        ("exchange=999999", "exchange", "There is no exchange with this ID or name"),
        (
            "by=robots",
            "by",
            "Cancels by: “robots” is not a choice. Choose one, such as “People, and",
        ),
        ("size=5000", "size", "Per page: Choose 50, 100 or 200."),
        ("q=a%00b", "q", "This contains a character that cannot be searched for."),
        ("reason=a%00b", "reason", "This contains a character that cannot be searched for."),
        (f"q={'x' * 201}", "q", "Enter at most 200 characters."),
        ("exchnage=KRAKEN", "exchnage", "There is no filter “exchnage”. Check the link."),
        ("outcome=unknown&outcome=x", "outcome", "Outcome appears more than once."),
        ("from=2026-11-28&from=x", "from", "From appears more than once."),
    ],
)
def test_a_wrong_value_is_refused_with_what_to_do(
    olga: User, query: str, field: str, words: str
) -> None:
    factories.press(olga, factories.exchange("KRAKEN"))
    assert words in errors(query)[field]


def test_a_filter_survives_as_an_address_and_as_data(olga: User) -> None:
    factories.press(olga, *factories.exchanges(2), factories.exchange("KRAKEN"))
    query = "period=week&person=olga&exchange=krak&outcome=not_confirmed&reason=x+%26+y&by=all"
    selection = selected(f"{query}&size=100&before=7")
    assert selection.to_query() == f"{query}&size=100"
    assert selected(selection.to_query()).to_query() == selection.to_query()
    assert selection.to_query(period="today", person="") == (
        "period=today&exchange=krak&outcome=not_confirmed&reason=x+%26+y&by=all&size=100"
    )
    today = datetime.now(UTC).date()
    assert selection.as_data() == {
        "period": "week",
        "from": str(today - timedelta(days=6)),
        "to": str(today),
        "person": "Olga Ray (olga)",
        "exchange": "KRAKEN",
        "outcome": "not_confirmed",
        "reason": "x & y",
        "by": "all",
    }
    exact = selected(f"period=today&from={today - timedelta(days=6)}&exchange=e").as_data()
    assert exact == {"period": "custom", "from": str(today - timedelta(days=6)), "exchange": "e"}


def test_the_filter_in_words_shows_no_character_that_acts_on_a_screen(olga: User) -> None:
    factories.press(olga, factories.exchange("KRAKEN"))
    selection = selected("outcome=not_confirmed&exchange=KRAKEN&person=olga&q=%E2%80%AEx")
    assert selection.describe() == ("not confirmed, on KRAKEN, by Olga Ray (olga), with “\\u202ex”")


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("from=2026-11-22&to=2026-11-28&by=people-only", "22 to 28 Nov 2026 (UTC), by people only"),
        ("exchange=VENUE&by=holds", "on 4 exchanges, by Holds"),
        ("reason=drill&by=all", "reason contains “drill”, by people and Holds"),
        ("size=100", ""),
    ],
)
def test_the_filter_in_words_leaves_out_no_field(query: str, words: str) -> None:
    factories.exchanges(4)
    assert selected(query).describe() == words


class TestPlans:
    """No filter reads every request. PostgreSQL decides by how large the tables are."""

    def test_the_most_common_outcome_is_searched_from_the_newest_cancel_on(self) -> None:
        for query in ("outcome=confirmed", "outcome=confirmed&by=all"):
            text = plan(selected(query).batches()[:51])
            if connection.vendor == "sqlite":
                assert "TEMP B-TREE" not in text
                assert "CORRELATED" in text
                assert "LIST SUBQUERY" not in text
                assert "(batch_id=?" in text

    def test_every_other_outcome_is_found_by_an_index(self) -> None:
        for outcome in OUTCOMES.keys() - {"confirmed"}:
            text = plan(selected(f"outcome={outcome}").batches()[:51])
            if connection.vendor == "sqlite":
                assert "requests_by_status" in text or "requests_reopened" in text, outcome

    def test_confirmed_requests_are_not_read_to_find_those_that_were_reopened(self) -> None:
        factories.exchange("A")
        for query in ("", "period=week", "exchange=A", "q=x"):
            for rows in (selected(query).batches()[:51], selected(query).left_out()[:51]):
                text = plan(rows)
                assert connection.vendor != "sqlite" or "requests_reopened" in text, query

    def test_the_requests_of_a_page_are_found_by_their_batches(self, olga: User) -> None:
        batch = factories.press(olga, factories.exchange("A"))
        for query in ("outcome=confirmed", "outcome=rejected", "exchange=A", "q=x"):
            text = plan(selected(query).requests_of([batch]))
            assert connection.vendor != "sqlite" or "(batch_id=?" in text, query

    def test_reject_reasons_are_found_by_their_index(self, olga: User) -> None:
        request = factories.press(olga, factories.exchange("A")).requests.get()
        factories.bring(request, Status.REJECTED)
        with CaptureQueriesContext(connection) as captured:
            assert found("q=unreachABLE") == ["A"]
        assert not [row["sql"] for row in captured if 'reject_reason" LIKE' in row["sql"]]
        if connection.vendor == "sqlite":
            rows = CancelRequest.objects.filter(reject_reason__in=["EXCHANGE_UNREACHABLE"])
            assert "requests_by_reject_reason" in plan(rows.order_by().values("pk"))

    def test_very_many_reject_reasons_are_searched_themselves(
        self, olga: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        request = factories.press(olga, factories.exchange("A")).requests.get()
        factories.bring(request, Status.REJECTED)
        monkeypatch.setattr(request_filters, "MAX_REJECT_REASONS", 0)
        assert found("q=unreachABLE") == ["A"]
