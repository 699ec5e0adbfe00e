"""The kill from the command line, when the database fails at the worst moment."""

import json
import signal
import time
from typing import Any

import pytest
from django.core.management import call_command
from django.db import OperationalError, connections

from killswitch.cancels import leases, services
from killswitch.cancels.models import Batch, CancelRequest
from killswitch.exchanges.models import Exchange
from killswitch.simulator.server import Simulator

pytestmark = [
    pytest.mark.both_databases,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("executor"),
]


def test_a_request_whose_commits_answer_was_lost_is_followed_to_its_end(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 0 without a line would be read as "all confirmed" by whoever gave the command."""
    Exchange.objects.create(exchange_id="KRAKEN")
    refusal = {"fault": "reject", "reason": "INVALID_TYPE"}
    simulator.script("KRAKEN", cancel=[refusal], orders=2)
    database = type(connections["default"])
    commit = database.commit

    def commit_and_lose_the_answer(self: Any) -> None:
        commit(self)
        monkeypatch.setattr(database, "commit", commit)
        raise OperationalError("the server closed the connection")

    monkeypatch.setattr(database, "commit", commit_and_lose_the_answer)
    with pytest.raises(SystemExit) as ended:
        call_command("cancel_all", "KRAKEN")
    request = CancelRequest.objects.get()
    (line,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert (line["request_id"], line["status"]) == (str(request.uuid), "REJECTED")
    assert ended.value.code == 1


def test_an_exchange_that_is_disabled_at_that_moment_is_not_passed_over_in_silence(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Exchange.objects.create(exchange_id="KRAKEN")
    other = Exchange.objects.create(exchange_id="BINANCE")
    ask = services.request_cancel_from_command_line

    def a_moment_later(**asked: Any) -> services.CancelResult:
        Exchange.objects.filter(pk=other.pk).update(enabled=False)
        return ask(**asked)

    monkeypatch.setattr(services, "request_cancel_from_command_line", a_moment_later)
    with pytest.raises(SystemExit) as ended:
        call_command("cancel_all", "KRAKEN", "BINANCE")
    told = capsys.readouterr()
    (line,) = map(json.loads, told.out.splitlines())
    assert (line["exchange_id"], line["status"]) == ("KRAKEN", "CONFIRMED")
    assert "nothing was sent there" in told.err
    assert ended.value.code == 1


def test_a_refusal_says_what_the_database_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Exchange.objects.create(exchange_id="KRAKEN")

    def refuse(*_: Any) -> None:
        raise OperationalError("database or disk is full")

    monkeypatch.setattr(CancelRequest.objects, "bulk_create", refuse)
    with pytest.raises(SystemExit) as ended:
        call_command("cancel_all", "KRAKEN")
    told = capsys.readouterr()
    assert "nothing was sent: database or disk is full" in told.err
    assert (ended.value.code, told.out) == (2, "")


def test_a_line_says_in_a_sentence_what_is_known(
    simulator: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    Exchange.objects.create(exchange_id="KRAKEN")
    simulator.place("KRAKEN", 2)
    with pytest.raises(SystemExit):
        call_command("cancel_all", "KRAKEN")
    (line,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert line["sentence"] == CancelRequest.objects.get().conclusion
    assert "the EMS listed no open orders" in line["sentence"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_says_that_it_is_recorded_and_lets_go(
    number: int,
    simulator: Simulator,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    Exchange.objects.create(exchange_id="KRAKEN")
    simulator.place("KRAKEN", 2)
    ask = services.request_cancel_from_command_line

    def ask_and_interrupt(**asked: Any) -> services.CancelResult:
        signal.raise_signal(number)
        return ask(**asked)

    before = signal.getsignal(number)
    monkeypatch.setattr(services, "request_cancel_from_command_line", ask_and_interrupt)
    began = time.monotonic()
    with pytest.raises(SystemExit) as ended:
        call_command("cancel_all", "KRAKEN")
    assert time.monotonic() - began < 3
    told = capsys.readouterr()
    assert f"recorded as batch {Batch.objects.get().uuid}" in told.err
    assert "will be carried out" in told.err
    assert (ended.value.code, told.out) == (1, "")
    assert signal.getsignal(number) == before
    assert leases.STOP.is_set()
