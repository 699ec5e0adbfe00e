"""Holds on the command line: listed, started with a cancel, released by two people."""

import json
import os
import pwd
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NamedTuple

import pytest
from django.core.management import call_command
from django.db import OperationalError
from django.db.models import F

from killswitch.audit.models import AuditEvent, EventKind
from killswitch.audit.verification.verify import verify
from killswitch.cancels.models import Batch, CancelRequest
from killswitch.exchanges.models import Exchange
from killswitch.holds import services
from killswitch.holds.models import Hold, HoldState
from killswitch.simulator.server import Simulator
from tests import failures
from tests.audit.assertions import assert_good
from tests.audit.event_factories import add_exchanges
from tests.holds import hold_factories
from tests.holds.hold_factories import browser, officers, shell

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True)]

# Users of the operating system that every machine has.
FIRST, SECOND = "root", "daemon"


class Run(NamedTuple):
    """How a command ended."""

    exit_code: int
    lines: list[dict[str, Any]]
    errors: str


Command = Callable[..., Run]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Command:
    """Return a function that runs a command as a user of the operating system."""

    def call(*arguments: str, login: str = FIRST) -> Run:
        capsys.readouterr()
        with logged_in(login), pytest.raises(SystemExit) as exit_info:
            call_command(*arguments)
        output = capsys.readouterr()
        assert isinstance(exit_info.value.code, int)
        return Run(exit_info.value.code, list(map(json.loads, output.out.splitlines())), output.err)

    return call


@contextmanager
def logged_in(login: str) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "getuid", lambda: pwd.getpwnam(login).pw_uid)
        yield


@pytest.fixture
def kraken(settings: Any, tmp_path: Any) -> Exchange:
    settings.KILLSWITCH_HOME = tmp_path
    (exchange,) = add_exchanges("KRAKEN")
    return exchange


@pytest.fixture
def hold(kraken: Exchange) -> Hold:
    return hold_factories.start(kraken, act=shell("risk"))


def kinds_since(seq: int) -> list[str]:
    return list(AuditEvent.objects.filter(seq__gt=seq).values_list("kind", flat=True))


def newest_seq() -> int:
    return AuditEvent.objects.latest("seq").seq


class TestHolds:
    """`manage.py holds`."""

    def test_without_a_hold_it_prints_no_line(self, run: Command, kraken: Exchange) -> None:
        assert run("holds") == (0, [], "")

    def test_each_active_hold_is_a_line(self, run: Command, hold: Hold) -> None:
        olga, ben = officers()
        (bitmex, lmax) = add_exchanges("BITMEX", "LMAX")
        other = hold_factories.start(bitmex, act=browser(olga), reason="")
        hold_factories.episode(other, orders=3)
        hold_factories.go_blind(other)
        services.request_release(other, act=browser(olga), reason="over")
        over = hold_factories.start(lmax, act=browser(olga))
        services.request_release(over, act=browser(olga), reason="over")
        services.confirm_release(over, act=browser(ben))
        exit_code, (first, second), errors = run("holds")
        assert (exit_code, errors) == (0, "")
        assert (
            set(first)
            == set(second)
            == {
                *("exchange_id", "state", "started_at", "started_by", "reason", "episodes"),
                *("orders_cancelled", "last_read_at", "blind_since"),
                *("release_requested_by", "release_requested_at", "release_reason"),
            }
        )
        assert (first["exchange_id"], first["state"], first["started_by"], first["reason"]) == (
            "KRAKEN",
            "ACTIVE",
            "os:risk",
            "runaway algorithm",
        )
        assert (first["blind_since"], first["release_requested_by"]) == (None, None)
        assert (second["exchange_id"], second["state"]) == ("BITMEX", "RELEASE_REQUESTED")
        assert (second["episodes"], second["orders_cancelled"]) == (1, 2)
        assert second["release_requested_by"] == "Olga Ray (olga)"
        assert (first["release_reason"], second["release_reason"]) == (None, "over")
        assert second["blind_since"].endswith("Z")

    def test_a_database_that_fails_is_a_sentence(self, run: Command, hold: Hold) -> None:
        error = OperationalError("the disk is on fire\nand more")
        with failures.failing("killswitch.holds.models.HoldQuerySet.active", error):
            exit_code, lines, errors = run("holds")
        assert (exit_code, lines) == (2, [])
        assert errors == "The Holds cannot be read from the database: the disk is on fire\n"


def test_control_characters_of_an_unknown_id_are_escaped(run: Command, hold: Hold) -> None:
    for command in ("cancel_all", "release_hold"):
        exit_code, _, errors = run(command, "OFF\x1b[2J\u202e")
        assert exit_code == 2
        assert "OFF␛[2J\\u202e" in errors


class TestReleaseHold:
    """`manage.py release_hold`."""

    def test_two_people_release_it(self, run: Command, hold: Hold) -> None:
        hold_factories.episode(hold, orders=4)
        exit_code, (line,), errors = run("release_hold", "KRAKEN", "--reason", "flat again")
        assert (exit_code, line["state"]) == (1, "RELEASE_REQUESTED")
        assert line["release_requested_by"] == f"os:{FIRST}"
        assert "still held. Another person must confirm it by" in errors
        assert "0 open orders as of" in errors
        assert "1 episode, 4 orders seen so far." in errors
        exit_code, (line,), errors = run("release_hold", "KRAKEN", login=SECOND)
        assert (exit_code, line["state"]) == (0, "RELEASED")
        assert f"released, requested by os:{FIRST} and confirmed by os:{SECOND}." in errors
        assert "Reason: “flat again”. The Hold no longer cancels its orders." in errors
        hold.refresh_from_db()
        assert (hold.released_by, hold.release_reason) == (f"os:{SECOND}", "flat again")
        assert run("holds").lines == []
        assert_good(verify())

    def test_a_note_of_the_second_person_is_in_the_log(self, run: Command, hold: Hold) -> None:
        run("release_hold", "KRAKEN", "--reason", "flat again")
        run("release_hold", "KRAKEN", "--reason", "I agree", login=SECOND)
        event = AuditEvent.objects.get(kind=EventKind.HOLD_RELEASED)
        data = json.loads(event.data)
        assert (data["reason"], data["note"], event.actor) == (
            "flat again",
            "I agree",
            f"os:{SECOND}",
        )

    def test_a_request_of_the_browser_is_confirmed_and_the_other_way_round(
        self, run: Command, hold: Hold
    ) -> None:
        olga, _ = officers()
        services.request_release(hold, act=browser(olga), reason="over")
        assert run("release_hold", "KRAKEN").exit_code == 0
        again = hold_factories.start(hold.configured_exchange, act=shell("risk"))
        assert run("release_hold", "KRAKEN", "--reason", "over").exit_code == 1
        services.confirm_release(again, act=browser(olga))
        assert not Hold.objects.active().exists()

    def test_where_one_person_is_enough_it_is_released_at_once(
        self, run: Command, hold: Hold, settings: Any
    ) -> None:
        settings.HOLD_RELEASE_PERSONS = 1
        exit_code, (line,), errors = run("release_hold", "KRAKEN", "--reason", "over")
        assert (exit_code, line["state"]) == (0, "RELEASED")
        assert f"by os:{FIRST} alone, as HOLD_RELEASE_PERSONS=1 allows" in errors

    def test_a_login_with_the_name_of_the_user_is_the_same_person(
        self, run: Command, hold: Hold
    ) -> None:
        user, _ = officers()
        type(user).objects.filter(pk=user.pk).update(username=SECOND)
        user.refresh_from_db()
        services.request_release(hold, act=browser(user), reason="over")
        assert run("release_hold", "KRAKEN", login=SECOND).exit_code == 2

    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            (("KRAKEN",), "KRAKEN: a release needs a reason: add --reason TEXT."),
            (("KRAKEN", "--reason", " \t "), "a release needs a reason"),
            (("KRAKEN", "--reason", "\u200b"), "a release needs a reason"),
            (("BITMEX", "--reason", "x"), "BITMEX: it is not held."),
            (("OFF", "kraken", "KRAKEN"), "Unknown exchange ID: OFF, kraken. Nothing was changed."),
        ],
    )
    def test_what_is_refused_changes_nothing(
        self, run: Command, hold: Hold, arguments: tuple[str, ...], sentence: str
    ) -> None:
        add_exchanges("BITMEX")
        before = newest_seq()
        exit_code, _, errors = run("release_hold", *arguments)
        assert exit_code == 2
        assert sentence in errors
        assert kinds_since(before) == []
        hold.refresh_from_db()
        assert hold.state == HoldState.ACTIVE

    def test_the_same_person_does_not_confirm(self, run: Command, hold: Hold) -> None:
        run("release_hold", "KRAKEN", "--reason", "over")
        before = newest_seq()
        exit_code, (line,), errors = run("release_hold", "KRAKEN", "--reason", "over")
        assert (exit_code, line["state"]) == (2, "RELEASE_REQUESTED")
        assert f"was requested by os:{FIRST}, and you may be the same person" in errors
        assert "Another person must confirm it by" in errors
        assert kinds_since(before) == []

    def test_a_request_that_has_lapsed_is_not_confirmed(self, run: Command, hold: Hold) -> None:
        run("release_hold", "KRAKEN", "--reason", "over")
        requested_at = F("release_requested_at") - timedelta(minutes=16)
        Hold.objects.update(release_requested_at=requested_at)
        before = newest_seq()
        exit_code, (line,), errors = run("release_hold", "KRAKEN", login=SECOND)
        assert (exit_code, line["state"]) == (2, "ACTIVE")
        assert "was not confirmed within 15 minutes and has lapsed. Still held." in errors
        assert kinds_since(before) == ["HOLD_RELEASE_LAPSED"]

    @pytest.mark.parametrize(
        ("refusal", "sentence"),
        [
            (services.NotHeld, "it is no longer held"),
            (services.ReleaseAlreadyRequested, "just been requested. Still held"),
            (services.ReleaseNotRequested, "was withdrawn or replaced just now"),
        ],
    )
    def test_what_another_person_did_meanwhile_is_a_sentence(
        self, run: Command, hold: Hold, refusal: type[Exception], sentence: str
    ) -> None:
        with failures.failing("killswitch.holds.services.request_release", refusal()):
            exit_code, _, errors = run("release_hold", "KRAKEN", "--reason", "x")
        assert exit_code == 2
        assert sentence in errors

    def test_of_several_each_is_on_its_own(self, run: Command, hold: Hold) -> None:
        bitmex, _ = add_exchanges("BITMEX", "LMAX")
        hold_factories.start(bitmex, act=shell("risk"))
        exit_code, lines, errors = run(
            "release_hold", "KRAKEN", "LMAX", "BITMEX", "KRAKEN", "--reason", "x"
        )
        assert (exit_code, [line["exchange_id"] for line in lines]) == (1, ["KRAKEN", "BITMEX"])
        assert "LMAX: it is not held." in errors
        assert run("release_hold", "KRAKEN", "LMAX", login=SECOND).exit_code == 1
        assert run("release_hold", "BITMEX", "LMAX", login=SECOND).exit_code == 1
        assert run("holds").lines == []

    def test_a_disabled_exchange_is_released_as_well(self, run: Command, hold: Hold) -> None:
        Exchange.objects.update(enabled=False)
        run("release_hold", "KRAKEN", "--reason", "over")
        assert run("release_hold", "KRAKEN", login=SECOND).exit_code == 0

    def test_without_the_log_nothing_is_released(self, run: Command, hold: Hold) -> None:
        with failures.full_log():
            exit_code, (line,), errors = run("release_hold", "KRAKEN", "--reason", "x")
        assert (exit_code, line["state"]) == (2, "ACTIVE")
        assert "the database failed: the disk is full" in errors
        assert "nothing was changed. Still held." in errors
        assert "Traceback" not in errors

    def test_a_database_that_cannot_be_read_is_a_sentence(self, run: Command, hold: Hold) -> None:
        with failures.failing(
            "killswitch.exchanges.models.Exchange.objects.filter", OperationalError("gone")
        ):
            assert run("release_hold", "KRAKEN") == (
                2,
                [],
                "The database failed: gone. Nothing was changed.\n",
            )

    def test_a_commit_whose_answer_is_lost_is_read_again(self, run: Command, hold: Hold) -> None:
        with failures.commits(failures.commit_without_answer):
            exit_code, (line,), errors = run("release_hold", "KRAKEN", "--reason", "x")
        assert (exit_code, line["state"]) == (1, "RELEASE_REQUESTED")
        assert "the release is requested" in errors

    def test_what_is_not_known_is_not_called_unchanged(self, run: Command, hold: Hold) -> None:
        with (
            failures.commits(failures.commit_without_answer),
            failures.failing("killswitch.holds.models.Hold.objects.get", OperationalError("gone")),
        ):
            exit_code, lines, errors = run("release_hold", "KRAKEN", "--reason", "x")
        assert (exit_code, lines) == (1, [])
        assert "it is not known whether the release was recorded" in errors


@pytest.mark.usefixtures("executor")
class TestCancelAndHold:
    """`manage.py cancel_all --hold`."""

    def test_it_holds_what_is_not_held(
        self, run: Command, simulator: Simulator, hold: Hold
    ) -> None:
        add_exchanges("BITMEX")
        exit_code, lines, errors = run("cancel_all", "--all", "--hold", "--reason", "runaway")
        assert (exit_code, len(lines)) == (0, 2)
        assert "Held from now on, until released: BITMEX. Hold cancels what it sees" in errors
        assert "cannot stop one that fills at once." in errors
        assert "Already held, unchanged: KRAKEN." in errors
        new = Hold.objects.get(exchange_id="BITMEX")
        assert (new.reason, new.started_by, new.batch) == (
            "runaway",
            f"os:{FIRST}",
            Batch.objects.get(),
        )
        assert Hold.objects.active().count() == 2

    def test_without_the_option_nothing_is_held(
        self, run: Command, simulator: Simulator, kraken: Exchange
    ) -> None:
        assert "held" not in run("cancel_all", "KRAKEN").errors.casefold()
        assert not Hold.objects.exists()

    def test_a_refused_press_holds_nothing(self, run: Command, kraken: Exchange) -> None:
        with failures.full_log():
            exit_code, _, errors = run("cancel_all", "KRAKEN", "--hold")
        assert exit_code == 2
        assert "could not be recorded, so nothing was sent" in errors
        assert not Hold.objects.exists()
        assert not CancelRequest.objects.exists()
