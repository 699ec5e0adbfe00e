"""Two runs never share a home's programs or a port; a home that cannot be used is named."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from killswitch.supervision import locks, prepare, supervisor
from killswitch.supervision.errors import CannotStart
from tests.supervision.system_process import free_ports


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", ["up-web.lock", "prepare.lock", "supervisord.conf"])
def test_a_file_of_the_home_that_cannot_be_used_is_named(
    settings: Any, tmp_path: Path, name: str
) -> None:
    settings.KILLSWITCH_HOME = tmp_path
    (tmp_path / name).mkdir()  # not to be opened, for root as well
    with pytest.raises(CannotStart, match=rf"^KILLSWITCH_HOME: .*{name} cannot be used \(Is a"):
        use(tmp_path / name)


def use(path: Path) -> None:
    match path.name:
        case "prepare.lock":
            prepare.prepare()
        case "supervisord.conf":
            supervisor.run_programs(
                programs=[], directory=path.parent, feed=lambda *_: None, on_stopping=lambda: None
            )
        case _:
            with locks.exclusive_lock(path):
                pass


def test_a_disk_without_room_for_a_lock_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "ftruncate", full)
    with (
        pytest.raises(CannotStart, match=r"^KILLSWITCH_HOME: .* \(No space left"),
        locks.exclusive_lock(tmp_path / "up-web.lock"),
    ):
        pass


def test_what_fails_while_a_lock_is_held_is_not_blamed_on_the_home(tmp_path: Path) -> None:
    with pytest.raises(BrokenPipeError), locks.exclusive_lock(tmp_path / "up-web.lock"):
        raise BrokenPipeError


def test_a_port_is_held_for_as_long_as_the_system_runs(settings: Any) -> None:
    """Binding it only tries: two starts at the same moment would both find it free."""
    settings.PORT = int(free_ports(1)[0])
    with (
        locks.held_ports(["web"]),
        pytest.raises(CannotStart, match=rf"^PORT: .*port {settings.PORT} on 127.0.0.1"),
        locks.held_ports(["web", "worker"]),
    ):
        pass
    with locks.held_ports(["worker"]), locks.held_ports(["web"]):
        pass


def test_another_address_or_another_port_is_free(settings: Any) -> None:
    settings.PORT, settings.SIMULATOR_PORT = map(int, free_ports(2))
    with locks.held_ports(["web", "simulator"]):
        settings.HOST = "127.0.0.2"
        with locks.held_ports(["web"]):
            settings.PORT += 1


def test_of_each_program_only_one_runs_on_a_home(settings: Any, tmp_path: Path) -> None:
    settings.KILLSWITCH_HOME = tmp_path
    everything = ["redis", "web", "worker", "watchdog", "observer"]
    with locks.exclusive_locks(everything):
        for names in (["redis"], ["worker", "watchdog"], everything):
            with (
                pytest.raises(CannotStart, match=f"process {os.getpid()}"),
                locks.exclusive_locks(names),
            ):
                pass
    with (
        locks.exclusive_locks(["redis"]),
        locks.exclusive_locks(["worker", "watchdog"]),
        pytest.raises(CannotStart, match="in use by a running system"),
        locks.exclusive_locks(["web", "worker"]),
    ):
        pass
    with locks.exclusive_locks(["web"]):
        pass
