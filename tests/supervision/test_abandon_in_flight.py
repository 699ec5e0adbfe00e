"""`manage.py abandon_in_flight`: nothing of a restored backup is sent by itself."""

import json
import os
import pwd
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from killswitch.audit.models import AuditEvent, EventKind
from killswitch.audit.verification.verify import verify
from killswitch.cancels import execution, leases
from killswitch.cancels.models import CancelRequest
from killswitch.exchanges.registry import ExchangeConfig, add_missing
from killswitch.simulator.server import Simulator
from tests.audit.assertions import assert_good
from tests.cancels.conftest import Press, press
from tests.holds.conftest import HoldExchange, hold

__all__ = ["hold", "press"]

pytestmark = [
    pytest.mark.both_databases,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("unpublished"),
]

Run = Callable[..., tuple[object, list[dict[str, Any]], str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs the command: its exit code, its lines, its errors."""

    def command(reason: str = "restored from the backup of Friday") -> Any:
        with pytest.raises(SystemExit) as end:
            call_command("abandon_in_flight", reason=reason)
        output, errors = capsys.readouterr()
        lines = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
        return end.value.code, lines, errors

    return command


def test_each_request_ends_as_far_as_it_is_known_in_the_name_of_a_person(
    run: Run, simulator: Simulator, press: Press, settings: Any, tmp_path: Path
) -> None:
    settings.KILLSWITCH_HOME = tmp_path  # without the checkpoints of other tests
    add_missing([ExchangeConfig(exchange_id=name) for name in ("BITMEX", "KRAKEN")])
    _, may_be_sent = press("BITMEX", "KRAKEN")  # the other one was never sent
    (lease,) = leases.claim([may_be_sent.pk])
    leases.stop_renewing(lease)
    code, lines, _ = run()
    assert code == 0
    assert [(line["exchange_id"], line["status"]) for line in lines] == [
        ("BITMEX", "NOT_DELIVERED"),
        ("KRAKEN", "UNKNOWN"),
    ]
    name = pwd.getpwuid(os.getuid()).pw_name
    why = f"os:{name} ended it on the command line: restored from the backup of Friday."
    for request in CancelRequest.objects.all():
        assert request.conclusion.startswith(why)
    assert simulator.calls() == []
    events = AuditEvent.objects.filter(kind=EventKind.FINISHED)
    assert {event.actor for event in events} == {f"os:{name}"}
    assert_good(verify())


def test_without_a_request_in_flight_it_does_nothing(run: Run) -> None:
    assert run() == (0, [], "")
    assert not AuditEvent.objects.exists()


@pytest.mark.usefixtures("executor")
def test_what_a_process_carries_out_is_left_to_it(
    run: Run, simulator: Simulator, press: Press, settings: Any
) -> None:
    settings.CANCEL_DEADLINE = 60
    simulator.script("KRAKEN", cancel=[{"fault": "too_many", "retry_after": "50"}], orders=5)
    (request,) = press("KRAKEN")
    execution.run(ids=[request.pk])
    code, lines, errors = run()
    assert (code, lines) == (1, [])
    assert "1 request not ended: a running process is carrying them out" in errors
    assert not CancelRequest.objects.get().is_final


@pytest.mark.parametrize("reason", ["", " \n", "..."])
def test_a_reason_is_needed(run: Run, press: Press, reason: str) -> None:
    press("KRAKEN")
    code, lines, errors = run(reason)
    assert (code, lines) == (2, [])
    assert "Nothing was changed" in errors
    assert CancelRequest.objects.get().status == "REQUESTED"


def test_an_exchange_that_is_held_is_named(run: Run, hold: HoldExchange) -> None:
    hold("KRAKEN")
    _, _, errors = run()
    assert "KRAKEN has been held since" in errors
    assert "manage.py release_hold KRAKEN" in errors
