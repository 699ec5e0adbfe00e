"""The kill from the command line, when the database fails at the worst moment."""

import json
import signal
import time
from typing import Any

import pytest
from django.core.management import call_command

from killswitch.cancels import services
from killswitch.cancels.models import Batch, CancelRequest
from killswitch.exchanges.models import Exchange
from killswitch.runtime import shutdown
from killswitch.simulator.server import Simulator
from tests import failures
from tests.cancels.kills import always

pytestmark = [
    pytest.mark.both_databases,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("executor"),
]


def test_a_request_is_followed_when_the_answer_to_its_commit_was_lost(
    simulator: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 0 without a line would look like "all confirmed"."""
    Exchange.objects.create(exchange_id="KRAKEN")
    simulator.script("KRAKEN", cancel=always("unauthorised"), orders=2)
    commits_before: list[Any] = []

    def lose_the_first_answer(commit: Any) -> None:
        commits_before.append(commit)
        if len(commits_before) == 1:
            failures.commit_without_answer(commit)
        else:
            commit()

    with failures.commits(lose_the_first_answer), pytest.raises(SystemExit) as exit_info:
        call_command("cancel_all", "KRAKEN")
    request = CancelRequest.objects.get()
    (line,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert (line["request_id"], line["status"]) == (str(request.uuid), "REJECTED")
    assert exit_info.value.code == 1


def test_an_exchange_that_is_disabled_at_that_moment_is_reported(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Exchange.objects.create(exchange_id="KRAKEN")
    other = Exchange.objects.create(exchange_id="BINANCE")
    request_cancel = services.request_cancel_from_command_line

    def disable_and_request(**arguments: Any) -> services.CancelResult:
        Exchange.objects.filter(pk=other.pk).update(enabled=False)
        return request_cancel(**arguments)

    monkeypatch.setattr(services, "request_cancel_from_command_line", disable_and_request)
    with pytest.raises(SystemExit) as exit_info:
        call_command("cancel_all", "KRAKEN", "BINANCE")
    output = capsys.readouterr()
    (line,) = map(json.loads, output.out.splitlines())
    assert (line["exchange_id"], line["status"]) == ("KRAKEN", "CONFIRMED")
    assert "no cancel was sent to it" in output.err
    assert exit_info.value.code == 1


def test_a_refusal_contains_the_error_of_the_database(capsys: pytest.CaptureFixture[str]) -> None:
    Exchange.objects.create(exchange_id="KRAKEN")
    with failures.full_log(), pytest.raises(SystemExit) as exit_info:
        call_command("cancel_all", "KRAKEN")
    output = capsys.readouterr()
    assert "nothing was sent: the disk is full" in output.err
    assert (exit_info.value.code, output.out) == (2, "")


def test_a_line_contains_the_conclusion(
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
def test_an_interruption_prints_the_batch_and_releases_the_requests(
    number: int,
    simulator: Simulator,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    Exchange.objects.create(exchange_id="KRAKEN")
    simulator.place("KRAKEN", 2)
    request_cancel = services.request_cancel_from_command_line

    def interrupt_and_request(**arguments: Any) -> services.CancelResult:
        signal.raise_signal(number)
        return request_cancel(**arguments)

    handler = signal.getsignal(number)
    monkeypatch.setattr(services, "request_cancel_from_command_line", interrupt_and_request)
    started_at = time.monotonic()
    with pytest.raises(SystemExit) as exit_info:
        call_command("cancel_all", "KRAKEN")
    assert time.monotonic() - started_at < 3
    output = capsys.readouterr()
    assert f"recorded with the ID {Batch.objects.get().uuid}" in output.err
    assert "will be carried out" in output.err
    assert (exit_info.value.code, output.out) == (1, "")
    assert signal.getsignal(number) == handler
    assert shutdown.STOP.is_set()
