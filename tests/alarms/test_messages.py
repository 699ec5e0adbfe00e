"""A message names every kind of failure and is short enough for a pager."""

from datetime import UTC, datetime
from typing import Any

import pytest

from killswitch import structured_logs
from killswitch.alarms.messages import Message
from killswitch.alarms.models import Alarm

RAISED_AT = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)


def alarm(number: int, summary: str, **fields: Any) -> Alarm:
    exchange_id = f"VENUE{number:02}"
    values = {
        "exchange_id": exchange_id,
        "request_id": f"r-{number}",
        "title": f"{exchange_id}: {summary}.",
        "summary": summary,
        "detail": f"The EMS rejected the cancel.\nReject reason: {summary}",
        "raised_at": RAISED_AT,
        "batch_id": "b-1",
        "batch_size": 40,
    }
    return Alarm(**values | fields)


def test_alarms_that_are_alike_are_counted_and_their_exchanges_named() -> None:
    message = Message.about(*(alarm(number, "rejected, INVALID_TYPE") for number in range(12)))
    names = ", ".join(f"VENUE{number:02}" for number in range(6))
    assert message.title == (
        f"Kill alarm · 12 of 40 exchanges: rejected, INVALID_TYPE: {names}, … and 6 more"
    )
    for number in range(12):
        assert f"VENUE{number:02}" in message.body
    assert "Reject reason: rejected, INVALID_TYPE" in message.body
    assert "Open the console" in message.body


def test_different_failures_of_one_batch_are_all_named() -> None:
    summaries = [f"rejected, REASON_{number}" for number in range(10)]
    alarms = [alarm(number, summaries[min(9, number)]) for number in range(40)]
    message = Message.about(*alarms)
    assert message.title.startswith(
        "Kill alarm · 40 of 40 exchanges: 31x rejected, REASON_9; 1x rejected, REA"
    )
    for summary in summaries:
        assert f"x {summary}: VENUE" in message.body
    assert len(message.body) < 4000


def test_one_exchange_with_two_alarms_is_counted_once() -> None:
    message = Message.about(alarm(1, "stuck for 5 s"), alarm(1, "outcome unknown"))
    assert message.title == "Kill alarm · 1 of 40 exchanges: 1x stuck for 5 s; 1x outcome unknown"


@pytest.mark.parametrize("count", [2, 40, 1000])
@pytest.mark.parametrize("kinds", [1, 7, 1000])
def test_a_message_of_any_number_of_long_alarms_is_bounded(count: int, kinds: int) -> None:
    alarms = [
        alarm(
            number,
            f"{number % kinds} " + "reason " * 40,
            exchange_id=f"{number} " + "x" * 190,
            title="t" * 300,
            detail="word\n" * 2000,
        )
        for number in range(count)
    ]
    message = Message.about(*alarms)
    assert len(message.title) <= 200
    assert len(message.body) <= 5000
    assert count == 2 or " more" in message.body


def test_a_secret_of_the_settings_is_masked(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.EMS_API_KEY = "hunter2hunter2"
    monkeypatch.setattr(structured_logs, "_secrets", structured_logs.known_secrets())
    single = alarm(1, "rejected, hunter2hunter2", detail="hunter2hunter2")
    for message in (Message.about(single), Message.about(single, alarm(2, "hunter2hunter2"))):
        assert "hunter2" not in message.title + message.body
        assert "***" in message.title + message.body
