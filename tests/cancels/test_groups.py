"""A cancel on a group of exchanges: what is asked, what is recorded, and what is refused."""

import json
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client

from killswitch.accounts.models import User
from killswitch.audit.descriptions import describe
from killswitch.audit.models import AuditEvent, EventKind
from killswitch.cancels import execution
from killswitch.cancels.models import Batch, CancelRequest
from killswitch.exchanges.models import ExchangeGroup
from killswitch.holds.models import Hold
from tests import factories
from tests.console.press_helpers import EVERYWHERE, HTMX, key_in, press, question
from tests.markup import html

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]


@pytest.fixture
def desk(db: None) -> ExchangeGroup:
    """A group of two of three exchanges, and of a disabled one."""
    group = ExchangeGroup.objects.create(name="Desk A")
    names = ("KRAKEN", "GEMINI", "BITMEX")
    exchanges = [factories.exchange(name, orders=7) for name in names]
    group.exchanges.set([*exchanges[:2], factories.exchange("OFF", enabled=False)])
    return group


def path_of(group: ExchangeGroup) -> str:
    return f"{EVERYWHERE}?group={group.pk}"


def test_the_question_names_the_group_its_exchanges_and_their_orders(
    officer: Client, desk: ExchangeGroup
) -> None:
    page = question(officer, path_of(desk))
    assert "Cancel ALL orders on Desk A (2 exchanges)?" in page
    assert "14 open orders, as of" in page
    assert "<code>GEMINI</code>, <code>KRAKEN</code>" in page
    assert "not cancelled:</b> <code>OFF</code>." in page
    form = page[page.index('class="card asking"') :].partition("</form>")[0]
    assert "BITMEX" not in form
    assert "data-press-and-hold" in page
    assert "Yes, cancel on all 2 exchanges" in page


def test_it_is_recorded_under_the_name_that_it_had(officer: Client, desk: ExchangeGroup) -> None:
    assert press(officer, path_of(desk)).status_code == 202
    batch = Batch.objects.get()
    assert (batch.group_name, batch.everywhere) == ("Desk A", False)
    names = set(batch.requests.values_list("exchange_id", flat=True))
    assert names == {"KRAKEN", "GEMINI"}
    event = AuditEvent.objects.filter(kind=EventKind.REQUESTED).latest("seq")
    assert json.loads(event.data)["group"] == "Desk A"
    assert "Part of a cancel on the group “Desk A”" in describe(event)
    desk.delete()
    page = html(officer.get(f"/batches/{batch.uuid}/"))
    assert "Cancel all on Desk A (2 exchanges), requested at" in page
    request = CancelRequest.objects.latest("id")
    assert "Part of a cancel on the group Desk A." in html(
        officer.get(f"/requests/{request.uuid}/")
    )


def test_cancel_and_hold_works_with_a_group(officer: Client, desk: ExchangeGroup) -> None:
    press(officer, path_of(desk), hold="hold")
    assert set(Hold.objects.values_list("exchange_id", flat=True)) == {"KRAKEN", "GEMINI"}


def test_a_group_of_one_takes_a_plain_click(officer: Client) -> None:
    group = ExchangeGroup.objects.create(name="Solo")
    group.exchanges.set([factories.exchange("KRAKEN", orders=1)])
    page = question(officer, path_of(group))
    assert "Cancel ALL orders on Solo (1 exchange)?" in page
    assert "data-press-and-hold" not in page
    assert "Cancel all orders on KRAKEN" in page
    press(officer, path_of(group))
    assert Batch.objects.get().group_name == "Solo"


@pytest.mark.parametrize("htmx", [True, False])
def test_a_group_that_has_changed_is_asked_about_again(
    officer: Client, desk: ExchangeGroup, htmx: bool
) -> None:
    key = key_in(question(officer, path_of(desk)))
    desk.exchanges.add(factories.exchange("LATE", orders=1))
    headers = HTMX if htmx else {}
    answer = officer.post(path_of(desk), {"key": key, "reason": "Drill"}, headers=headers)
    page = html(answer)
    assert answer.status_code == 409
    assert "The exchanges of Desk A have changed" in page
    assert "No cancel was sent." in page
    assert "<option selected>Drill</option>" in page
    assert Batch.objects.count() == 0
    assert officer.post(path_of(desk), {"key": key_in(page)}, headers=HTMX).status_code == 202
    assert CancelRequest.objects.count() == 3


def test_what_was_sent_is_found_again_after_the_group_has_changed(
    officer: Client, desk: ExchangeGroup
) -> None:
    """The answer may have been lost; "no cancel was sent" would be a lie."""
    key = key_in(question(officer, path_of(desk)))
    assert officer.post(path_of(desk), {"key": key}, headers=HTMX).status_code == 202
    desk.exchanges.clear()
    answer = officer.post(path_of(desk), {"key": key}, headers=HTMX)
    assert answer.status_code == 202
    assert "Already requested at" in html(answer)
    assert Batch.objects.count() == 1


@pytest.mark.parametrize("members", [(), ("OFF",)])
def test_a_group_without_an_enabled_exchange_is_refused_in_words(
    officer: Client, members: tuple[str, ...]
) -> None:
    factories.exchange("KRAKEN")
    group = ExchangeGroup.objects.create(name="Empty")
    group.exchanges.set([factories.exchange(name, enabled=False) for name in members])
    says = "Disabled here: OFF." if members else "The group Empty has no exchanges."
    for answer in (officer.get(path_of(group)), officer.post(path_of(group), {"key": ""})):
        assert answer.status_code == 409
        assert says in html(answer)
    assert Batch.objects.count() == 0


@pytest.mark.parametrize(
    "query",
    ["group=999", "group=", "group=x", "group=99999999999999999999", "group=-1", "group=²"],
)
def test_an_unknown_group_is_not_found_and_never_means_all(officer: Client, query: str) -> None:
    factories.exchange("KRAKEN")
    for answer in (officer.get(f"{EVERYWHERE}?{query}"), officer.post(f"{EVERYWHERE}?{query}")):
        assert answer.status_code == 404
        assert "This group does not exist, or was removed." in html(answer)
    assert Batch.objects.count() == 0


def test_a_group_with_exchanges_or_another_group_is_not_found(
    officer: Client, desk: ExchangeGroup
) -> None:
    pk = desk.exchanges.all()[0].pk
    for more in (f"exchange={pk}", f"group={desk.pk}"):
        answer = officer.get(f"{path_of(desk)}&{more}")
        assert answer.status_code == 404
        assert "either exchanges or one group" in html(answer)


def test_a_session_that_has_ended_leads_back_to_the_group(desk: ExchangeGroup) -> None:
    """Without its group the address would mean every exchange."""
    answer = Client().post(path_of(desk), {"reason": "Drill"}, headers=HTMX)
    assert f"group%3D{desk.pk}" in answer["X-Sign-In"]
    plain = Client().post(path_of(desk), {"reason": "Drill"})
    assert f"group%3D{desk.pk}" in plain["Location"]


@pytest.fixture
def _carried_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody carries the requests out; they end as if an EMS had been there."""
    from killswitch.cancels.states import Status

    def run(*, ids: list[int]) -> None:
        for request in CancelRequest.objects.filter(pk__in=ids):
            factories.bring(request, Status.CONFIRMED)

    monkeypatch.setattr(execution, "run", run)


@pytest.mark.usefixtures("_carried_out")
def test_the_command_cancels_on_a_group(
    olga: User, desk: ExchangeGroup, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_info:
        call_command("cancel_all", "--group", "Desk A")
    output = capsys.readouterr()
    assert len(output.out.splitlines()) == 2
    assert "Not included, disabled here: OFF." in output.err
    assert exit_info.value.code == 1  # orders may be open on the disabled one
    assert Batch.objects.get().group_name == "Desk A"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--group", "Desk B"), "There is no group Desk B. Groups: Desk A."),
        (("--group", "Desk A", "--all"), "only one of them"),
        (("--group", "Desk A", "KRAKEN"), "only one of them"),
        (("--group", ""), "There is no group"),
    ],
)
def test_the_command_refuses_what_names_no_group(
    desk: ExchangeGroup, capsys: pytest.CaptureFixture[str], arguments: Any, says: str
) -> None:
    with pytest.raises(SystemExit) as exit_info:
        call_command("cancel_all", *arguments)
    assert exit_info.value.code == 2
    assert says in capsys.readouterr().err
    assert Batch.objects.count() == 0
