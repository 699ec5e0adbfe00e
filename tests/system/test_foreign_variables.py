"""The whole system, started where another program has exported all of its variables."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests import foreign_variables
from tests.conftest import RedisProcess
from tests.supervision.system_process import MANAGE, ROLES, System, command_line
from tests.system.test_end_to_end import request_of, sign_in

pytestmark = pytest.mark.timeout(400)  # starting takes a minute on a busy machine


@pytest.fixture
def foreign_redis(tmp_path: Path) -> Iterator[RedisProcess]:
    with RedisProcess(tmp_path / "foreign.sock") as process:
        yield process


@pytest.fixture
def system(tmp_path: Path, foreign_redis: RedisProcess) -> Iterator[System]:
    system = System(tmp_path)
    queue = f"redis+socket://{foreign_redis.path}"
    names = ("CELERY_BROKER_URL", "CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL", "BROKER_URL")
    system.environment |= foreign_variables.VARIABLES | dict.fromkeys(names, queue)
    system.environment["PYTHONPATH"] = str(foreign_variables.module_path(tmp_path / "modules"))
    with system:
        system.wait_until_it_serves()
        yield system


def test_a_cancel_is_confirmed_through_our_own_queue(
    system: System, foreign_redis: RedisProcess, browser: Browser
) -> None:
    context = browser.new_context()
    page = context.new_page()
    sign_in(page, system, "olga")
    page.locator('[data-exchange-id="KRAKEN/JOHN"] a.cut').click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name=re.compile("Cancel all orders")).click()
    expect(dialog.locator('[data-status="CONFIRMED"]')).to_be_visible(timeout=30_000)
    process = subprocess.run(
        [sys.executable, MANAGE, "cancel_all", "BINANCE", "--reason", "drill"],
        env=system.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (process.returncode, process.stderr) == (0, "")
    assert json.loads(process.stdout)["status"] == "CONFIRMED"
    page.reload()
    expect(page.locator(request_of(page, "BINANCE"))).to_have_attribute("data-status", "CONFIRMED")
    context.close()

    assert "PUBLISH_FAILED" not in [kind for kind, _ in system.events()]
    assert system.waiting_at_the_queue()
    with foreign_redis.client() as client:
        assert client.dbsize() == 0
        assert {"cmdstat_brpop", "cmdstat_lpush"} & set(client.info("commandstats")) == set()
        assert len(client.client_list()) == 1, "only this test"


def test_every_program_is_a_child_with_its_command_line_and_our_variables(system: System) -> None:
    assert set(system.main_processes()) == set(ROLES)
    assert "manage.py up" in command_line(system.root)
    for child in system.descendants():
        if "redis-server" not in command_line(child):  # its title is written over its environment
            names = child.environ().keys() - {"PYTHONPATH", "DJANGO_SETTINGS_MODULE"}
            assert names & foreign_variables.VARIABLES.keys() == set()
