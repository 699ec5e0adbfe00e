"""`manage.py export_audit`, as an operator runs it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from tests.accounts.people import events
from tests.audit.export.export_helpers import fill, nothing_can_be_written
from tests.stack import database_url

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]
ROOT = Path(settings.BASE_DIR)


def _refused(*arguments: str) -> str:
    with pytest.raises(CommandError) as refused:
        call_command("export_audit", *arguments)
    assert refused.value.returncode == 2
    return str(refused.value)


def test_the_whole_log_goes_to_standard_output(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    fill(2)
    call_command("export_audit")
    header, *lines, manifest = capsysbinary.readouterr().out.splitlines()
    assert len(lines) == 7
    assert json.loads(header)["whole"] is True
    assert json.loads(manifest)["count"] == 7
    (event,) = events("EXPORTED")
    assert event.actor.startswith("os:")
    assert event.role == "OPERATING_SYSTEM"


def test_every_filter_of_the_pages_is_an_option(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    fill(6)
    options = "--from 2020-01-01 --to 2100-01-01 --kind attempt --status sending --text message"
    who = ["--actor", "system", "--exchange", "KRAKEN", "--reject-reason", "@SUM(1)"]
    request = ["--request", events("ATTEMPT")[0].request_id]
    call_command("export_audit", "--format", "jsonl", *options.split(), *who, *request)
    assert json.loads(capsysbinary.readouterr().out.splitlines()[-1])["count"] == 1
    assert len(json.loads(events("EXPORTED")[0].data)["filter"]) == 9
    call_command("export_audit", "--unreviewed")
    kinds = [json.loads(line)["kind"] for line in capsysbinary.readouterr().out.splitlines()[1:-1]]
    assert "FINISHED" in kinds
    assert "ATTEMPT" not in kinds


def test_an_invalid_export_is_refused_with_a_sentence(
    capsysbinary: pytest.CaptureFixture[bytes],
) -> None:
    assert "From: “x” is not a day" in _refused("--from", "x")
    with nothing_can_be_written():
        assert "Nothing was exported" in _refused()
    assert capsysbinary.readouterr().out == b""


@pytest.mark.django_db(transaction=True)
def test_the_exit_code_of_the_process_says_whether_the_export_is_complete(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fill(400)
    monkeypatch.setenv("DATABASE_URL", database_url())
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "killswitch.settings")
    command = [sys.executable, "manage.py", "export_audit"]

    process = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    assert (process.returncode, process.stderr.count(b"Traceback")) == (0, 0)
    assert json.loads(process.stdout.splitlines()[-1])["count"] == 1201

    wrong = subprocess.run([*command, "--kind", "x"], cwd=ROOT, capture_output=True, check=False)
    assert (wrong.returncode, wrong.stdout) == (2, b"")

    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as reader:
        assert reader.stdout
        assert reader.stderr
        reader.stdout.readline()
        reader.stdout.close()
        stderr = reader.stderr.read()
    assert reader.returncode == 2
    assert b"incomplete" in stderr
    assert b"Traceback" not in stderr
