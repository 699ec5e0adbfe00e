"""Two systems never share a data directory's programs or a port."""

import os
from pathlib import Path
from typing import Any

import pytest

from killswitch.supervision import locks, prepare
from killswitch.supervision.checks import CannotStart
from tests.failures import failing
from tests.supervision.system_process import free_ports


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", ["up-web.lock", "prepare.lock"])
def test_a_file_in_the_data_directory_that_cannot_be_used_is_named(
    settings: Any, tmp_path: Path, name: str
) -> None:
    settings.KILLSWITCH_HOME = tmp_path
    (tmp_path / name).mkdir()  # cannot be opened, even by root
    lock = locks.exclusive_lock(tmp_path / name)
    use_file = prepare.prepare if name == "prepare.lock" else lock.__enter__
    with pytest.raises(CannotStart, match=rf"^KILLSWITCH_HOME: .*{name} cannot be used \(Is a"):
        use_file()


def test_a_disk_without_room_for_a_lock_is_named(tmp_path: Path) -> None:
    with (
        failing("os.ftruncate"),
        pytest.raises(CannotStart, match=r"^KILLSWITCH_HOME: .* \(No space left"),
        locks.exclusive_lock(tmp_path / "up-web.lock"),
    ):
        pass


def test_an_error_while_a_lock_is_held_does_not_blame_the_data_directory(tmp_path: Path) -> None:
    with pytest.raises(BrokenPipeError), locks.exclusive_lock(tmp_path / "up-web.lock"):
        raise BrokenPipeError


def test_a_port_is_reserved_while_the_system_runs(settings: Any) -> None:
    """Binding it is not enough: two starts at the same moment would both find it free."""
    settings.PORT = int(free_ports(1)[0])
    with (
        locks.exclusive_ports(["web"]),
        pytest.raises(CannotStart, match=rf"^PORT: .*port {settings.PORT} on 127.0.0.1"),
        locks.exclusive_ports(["web", "worker"]),
    ):
        pass
    with locks.exclusive_ports(["worker"]), locks.exclusive_ports(["web"]):
        pass


def test_another_address_or_another_port_is_free(settings: Any) -> None:
    settings.PORT, settings.SIMULATOR_PORT = map(int, free_ports(2))
    with locks.exclusive_ports(["web", "simulator"]):
        settings.HOST = "127.0.0.2"
        with locks.exclusive_ports(["web"]):
            settings.PORT += 1


def test_a_program_runs_once_on_a_data_directory(settings: Any, tmp_path: Path) -> None:
    settings.KILLSWITCH_HOME = tmp_path
    all_names = ["redis", "web", "worker", "watchdog", "observer"]
    with locks.exclusive_locks(all_names):
        for names in (["redis"], ["worker", "watchdog"], all_names):
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
