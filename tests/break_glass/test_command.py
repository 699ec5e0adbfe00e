"""`manage.py break_glass` on a host that has no database and no Redis."""

import json
import re
import resource
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command, get_commands, load_command_class

from killswitch.break_glass import command, exchange_snapshot
from killswitch.break_glass.exchange_snapshot import KnownExchange, Snapshot
from killswitch.break_glass.journal import FILE, Journal
from killswitch.break_glass.journal_reader import HEAD_FILE
from killswitch.break_glass.press import ATTEMPT, END, PRESS
from killswitch.cancels.management.commands import cancel_all
from killswitch.cancels.models import Batch, CancelRequest
from killswitch.simulator.server import Simulator
from tests.cancels.kills import always
from tests.conftest import wait_for
from tests.supervision.system_process import MANAGE, environment

SECRETS = {"SECRET_KEY": "correct-horse-battery", "EMS_API_KEY": "hunter2-hunter2"}
Ended = subprocess.CompletedProcess[str]


@dataclass(kw_only=True)
class Host:
    """A host whose database and Redis are listeners, which notice every connection."""

    home: Path
    simulator: Simulator
    database: socket.socket
    redis: socket.socket

    @property
    def environment(self) -> dict[str, str]:
        database, redis = (place.getsockname()[1] for place in (self.database, self.redis))
        return environment(
            KILLSWITCH_HOME=str(self.home),
            DATABASE_URL=f"postgresql://user:hunter3@127.0.0.1:{database}/log",
            REDIS_URL=f"redis://127.0.0.1:{redis}/0",
            EMS_BASE_URL=self.simulator.url,
            EMS_TIMEOUT="1",
            CANCEL_DEADLINE="4",
            **SECRETS,
        )

    def start(self, *arguments: str, **options: Any) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, MANAGE, "break_glass", *arguments],
            **{"env": self.environment} | options,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, **options: Any) -> Ended:
        """Run the command, and assert that it is alone in the world and gives no secret away."""
        process = self.start(*arguments, **options)
        output, errors = process.communicate(timeout=60)
        for listener in (self.database, self.redis):
            with pytest.raises(BlockingIOError):
                listener.accept()
        written = [path.read_text() for path in self.home.iterdir() if path.is_file()]
        for secret in (*SECRETS.values(), "hunter3"):
            assert secret not in "".join([output, errors, *written])
        assert "Traceback" not in errors
        return Ended(process.args, process.returncode, output, errors)


@pytest.fixture
def host(home: Path, simulator: Simulator, settings: Any) -> Iterator[Host]:
    settings.SECRET_KEY = SECRETS["SECRET_KEY"]  # with which the journal is read here
    with ExitStack() as sockets:
        places = [sockets.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
        for place in places:
            place.setblocking(False)
        yield Host(home=home, simulator=simulator, database=places[0], redis=places[1])


def json_lines(ended: Ended) -> dict[str, dict[str, Any]]:
    return {line["exchange_id"]: line for line in map(json.loads, ended.stdout.splitlines())}


def know(home: Path, **enabled: bool) -> None:
    """Write the snapshot of the exchanges."""
    exchanges = [
        KnownExchange(
            id=number,
            exchange_id=name,
            name="",
            enabled=is_enabled,
            caveat="",
            ever_listed=True,
            open_orders=None,
            seen_at=None,
        )
        for number, (name, is_enabled) in enumerate(enabled.items())
    ]
    exchange_snapshot.write(home, Snapshot(exchanges=exchanges, groups={}))


def kinds(home: Path) -> list[str]:
    return [line.kind for line in Journal(home).read().lines]


def test_a_cancel_goes_out_and_is_journaled_without_anything_else(
    host: Host, simulator: Simulator
) -> None:
    simulator.script("KRAKEN/JOHN", cancel=["ok"], orders=4)
    ended = host.run("KRAKEN/JOHN", "--reason", "drill\nat night")
    assert ended.returncode == 0, ended.stderr
    (line,) = json_lines(ended).values()
    of_cancel_all = json.loads(cancel_all._line(CancelRequest(batch=Batch())))
    assert list(line) == [*of_cancel_all, "journaled"]
    assert (line["status"], line["open_orders_after"], line["attempts"]) == ("CONFIRMED", 0, 1)
    assert line["journaled"] is True
    assert re.search(r"^KRAKEN/JOHN +CONFIRMED +0 +1", ended.stderr, re.MULTILINE)
    assert "Journaled on this host's disk" in ended.stderr
    reader = Journal(host.home).read()
    assert ([line.kind for line in reader.lines], reader.faults) == ([PRESS, ATTEMPT, END], [])
    assert reader.lines[0].data["reason"] == "drill at night"
    assert reader.lines[0].data["by_name"].startswith("os:")
    files = {path.name.partition("_holder.")[0]: path for path in host.home.iterdir()}
    assert set(files) == {FILE, HEAD_FILE, "break_glass"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in files.values()} == {0o600}
    assert len(simulator.calls()) == 1


def test_everywhere_is_what_the_snapshot_has(host: Host, simulator: Simulator) -> None:
    know(host.home, KRAKEN=True, BINANCE=True, OLD=False)
    simulator.script("KRAKEN", orders=2)
    simulator.script("BINANCE", cancel=always("unauthorised"), orders=2)
    ended = host.run("--all")
    assert ended.returncode == 1
    assert {name: line["status"] for name, line in json_lines(ended).items()} == {
        "KRAKEN": "CONFIRMED",
        "BINANCE": "REJECTED",
    }
    assert re.search(r"those enabled when last known, [\d.]+ m?s ago \(2", ended.stderr)
    assert Journal(host.home).read().lines[0].data["everywhere"] is True


def test_an_unknown_or_disabled_exchange_is_sent_with_a_warning(
    host: Host, simulator: Simulator
) -> None:
    know(host.home, KRAKEN=True, OLD=False)
    ended = host.run("KRAKNE", "OLD", "OLD")
    assert "KRAKNE was not configured when last known" in ended.stderr
    assert "Did you mean KRAKEN?" in ended.stderr
    assert "OLD was disabled when last known" in ended.stderr
    assert len(simulator.calls()) == 2
    assert {call.exchange_id for call in simulator.calls()} == {"KRAKNE", "OLD"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Give either the IDs of exchanges or --all"),
        (["KRAKEN", "--all"], "Nothing was sent"),
        (["--all"], "The exchanges are not known on this host (there is no file"),
        (["KRAKEN", "\x1b[2J"], r"\x1b[2J"),
        ([""], "Nothing was sent"),
    ],
)
def test_what_names_no_target_is_refused(
    arguments: list[str],
    words: str,
    home: Path,
    simulator: Simulator,
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = [argument for argument in arguments if argument != "--all"]
    assert command.run(names, everywhere=names != arguments, reason="") == command.REFUSED
    output = capsys.readouterr()
    assert words in output.err
    assert "Nothing was sent" in output.err
    assert "\x1b" not in output.err
    assert (output.out, simulator.calls(), kinds(home)) == ("", [], [])


def test_a_wrong_configuration_is_refused_in_words(host: Host, simulator: Simulator) -> None:
    variables = {k: v for k, v in host.environment.items() if k != "EMS_BASE_URL"}
    ended = host.run("KRAKEN", env=variables)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert re.fullmatch(r"killswitch cannot start: .*EMS_BASE_URL is not.*\n", ended.stderr)
    assert list(host.home.iterdir()) == []


def test_the_demo_does_not_pass_for_an_exchange(
    home: Path, simulator: Simulator, settings: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.DEMO = True
    options = {"exchange_id": ["KRAKEN"], "all": False, "reason": "", "rehearse": False}
    assert command.carry_out(options) == 0
    assert "This is the demo: EMS_BASE_URL is not set" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_command_says_what_is_not_known(
    host: Host, simulator: Simulator, number: signal.Signals
) -> None:
    simulator.script("KRAKEN", cancel=[{"fault": "silent"}], orders=2)
    process = host.start("KRAKEN", env=host.environment | {"EMS_TIMEOUT": "30"})
    wait_for(lambda: len(simulator.calls()) == 1, seconds=20)
    process.send_signal(number)
    output, errors = process.communicate(timeout=5)
    line = json.loads(output)
    assert (process.returncode, line["status"], line["journaled"]) == (1, "UNKNOWN", True)
    assert line["sentence"] == "Interrupted before the outcome was known."
    assert line["sentence"] in errors
    assert kinds(host.home) == [PRESS]


def fill_the_disk() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def test_a_full_disk_stops_no_cancel(host: Host, simulator: Simulator) -> None:
    assert_sent_without_a_record(host, simulator, preexec_fn=fill_the_disk)


def test_a_data_directory_that_cannot_be_written_stops_no_cancel(
    host: Host, simulator: Simulator
) -> None:
    (host.home / FILE).mkdir()  # root may write to any directory, but not to this as to a file
    host.home.chmod(0o500)
    assert_sent_without_a_record(host, simulator)
    host.home.chmod(0o700)


def assert_sent_without_a_record(host: Host, simulator: Simulator, **options: Any) -> None:
    simulator.script("KRAKEN", orders=2)
    ended = host.run("KRAKEN", **options)
    assert ended.returncode == 0, ended.stderr
    (line,) = json_lines(ended).values()
    assert (line["status"], line["journaled"]) == ("CONFIRMED", False)
    assert "NOT RECORDED" in ended.stderr
    assert "give it to compliance" in ended.stderr
    assert simulator.really_open("KRAKEN") == 0


def test_two_commands_at_once_write_one_valid_journal(host: Host, simulator: Simulator) -> None:
    names = [f"VENUE{number}" for number in range(8)]
    processes = [host.start(*names) for _ in range(2)]
    assert [process.wait(60) for process in processes] == [0, 0]
    for process in processes:
        assert '"journaled": false' not in process.communicate()[0]
    reader = Journal(host.home).read()
    assert reader.faults == []
    assert sorted(kinds(host.home)) == [ATTEMPT] * 16 + [END] * 16 + [PRESS] * 2


def test_a_rehearsal_sends_no_cancel_and_says_what_works(host: Host, simulator: Simulator) -> None:
    know(host.home, KRAKEN=True)
    ended = host.run("--rehearse")
    assert ended.returncode == 0, ended.stderr
    steps = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [(step["name"], step["ok"]) for step in steps] == [
        ("Key", True),
        ("EMS", True),
        ("Journal", True),
        ("Exchanges", True),
    ]
    assert "ok   Journal: can be written" in ended.stderr
    assert simulator.calls() == []
    ended = host.run("--rehearse", preexec_fn=fill_the_disk)
    assert ended.returncode == 1
    assert "FAIL Journal: cannot be written (File too large)" in ended.stderr


def test_the_help_lists_it_with_its_arguments() -> None:
    assert get_commands()["break_glass"] == "killswitch.break_glass"
    parser = load_command_class("killswitch.break_glass", "break_glass").create_parser("", "")
    process = subprocess.run(
        [sys.executable, MANAGE, "break_glass", "--help"],
        env=environment(**SECRETS),
        capture_output=True,
        text=True,
        check=True,
    )
    for text in (parser.format_help(), process.stdout):
        for words in ("--rehearse", "--all", "--reason", "EXCHANGE_ID", "without the database"):
            assert words in text


def test_other_code_calls_it_as_any_command(home: Path, simulator: Simulator) -> None:
    with pytest.raises(SystemExit) as ended:
        call_command("break_glass", "KRAKEN", reason="drill")
    assert ended.value.code == 0
    assert kinds(home) == [PRESS, ATTEMPT, END]


NAME_MODULES = """
import sys
from killswitch.break_glass.command import main
main(["KRAKEN"])
names = [name for name in sys.modules if name.startswith(("django.db", "killswitch."))]
print([name for name in names if name.startswith("django.db") or name.endswith("models")])
"""


def test_it_imports_neither_models_nor_the_orm(host: Host) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", NAME_MODULES],
        env=host.environment | {"PYTHONPATH": str(Path(MANAGE).parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout.splitlines()[-1] == "[]"
