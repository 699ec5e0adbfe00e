"""`manage.py test_alert` shows whether an alarm would arrive."""

from typing import Any

import pytest
from django.core.management import call_command

from tests.alarms.conftest import Sink


def run(capsys: pytest.CaptureFixture[str]) -> tuple[object, str, str]:
    """Return the exit code, and what was printed to both outputs. No database is used."""
    with pytest.raises(SystemExit) as end:
        call_command("test_alert")
    return (end.value.code, *capsys.readouterr())


def test_every_channel_gets_a_test(
    sink: Sink, settings: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.ALERT_URLS = (sink.url("/duty"), sink.url("/head"))
    settings.ARCHIVE_URLS = (sink.url("/archive"),)
    code, output, errors = run(capsys)
    assert (code, errors) == (0, "")
    assert output.splitlines() == [
        "ALERT_URLS 1: json: accepted",
        "ALERT_URLS 2: json: accepted",
        "ARCHIVE_URLS 1: json: accepted",
    ]
    for path in ("/duty", "/head"):
        assert sink.titles(path) == ["[real] Test of the alarm channels"]
    assert sink.titles("/archive") == ["[real] Test of the archives of the audit log"]


def test_a_channel_that_refuses_is_named_without_its_url(
    sink: Sink, settings: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    sink.status["/secret-token"] = 403
    settings.ALERT_URLS = (sink.url("/secret-token"), sink.url())
    settings.ARCHIVE_URLS = ()
    code, output, errors = run(capsys)
    assert code == 1
    assert output.splitlines() == [
        "ALERT_URLS 1: json: rejected or unreachable",
        "ALERT_URLS 2: json: accepted",
    ]
    assert "ARCHIVE_URLS is not set.\n" in errors
    assert "secret-token" not in output + errors


def test_without_a_channel_nobody_would_be_notified(
    settings: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.ALERT_URLS = settings.ARCHIVE_URLS = ()
    code, output, errors = run(capsys)
    assert (code, output) == (2, "")
    assert "no one would be notified" in errors
