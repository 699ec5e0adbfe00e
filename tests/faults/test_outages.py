"""A press in a real browser and the command reach the EMS, whatever has been taken away."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from killswitch.simulator.server import Simulator
from tests.conftest import wait_for
from tests.faults import outages
from tests.faults.outages import (
    SystemOnADisk,
    SystemOnPostgreSQL,
    database_removed,
    disk_full,
    postgresql_hangs,
    postgresql_stopped,
    read_only,
)
from tests.simulator.remote import SimulatorRemote
from tests.system.test_end_to_end import sign_in

pytestmark = pytest.mark.timeout(240)
LATER = pytest.mark.faults  # in `make test-faults` only

AnySystem = SystemOnADisk | SystemOnPostgreSQL
AnyEms = Simulator | SimulatorRemote


Outage = Callable[[Any], AbstractContextManager[None]]


def redis_stopped(system: AnySystem) -> AbstractContextManager[None]:
    return outages.stopped(system, "redis")


def all_but_the_web_stopped(system: AnySystem) -> AbstractContextManager[None]:
    return outages.stopped(system, "redis", "worker", "watchdog", "observer")


@contextmanager
def everything_at_once(system: SystemOnADisk) -> Iterator[None]:
    with all_but_the_web_stopped(system), database_removed(system), disk_full(system):
        yield


@contextmanager
def postgresql_and_all_but_the_web_stopped(system: SystemOnPostgreSQL) -> Iterator[None]:
    with all_but_the_web_stopped(system), postgresql_stopped(system):
        yield


@pytest.fixture
def system(tmp_path: Path, outage: Any) -> Iterator[AnySystem]:
    is_on_postgresql = "postgresql" in outage.__name__
    system = SystemOnPostgreSQL(tmp_path) if is_on_postgresql else SystemOnADisk(tmp_path)
    with system:
        system.wait_until_it_serves()
        yield system


@pytest.fixture
def ems(system: AnySystem) -> AnyEms:
    if isinstance(system, SystemOnPostgreSQL):
        return system.ems
    return SimulatorRemote(f"http://127.0.0.1:{system.simulator_port}")


@pytest.fixture
def page(system: AnySystem, browser: Browser) -> Iterator[Page]:
    """Show the console to Olga, on a host that knows its exchanges."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    sign_in(page, system, "olga")
    wait_for((system.home / "break_glass_exchanges.json").exists, seconds=30)
    yield page
    context.close()


def cancel(page: Page, exchange_id: str) -> None:
    """Cancel as an officer does: confirm, and break the glass if that is offered instead."""
    page.locator(f'[data-exchange-id="{exchange_id}"] a.cut').click()
    dialog = page.get_by_role("dialog")
    # Without the log, the first click brings the break-glass question; with it, the usual one.
    confirm = dialog.get_by_role("button", name=f"Cancel all orders on {exchange_id}")
    glass = dialog.locator("[data-press-and-hold]")
    result = dialog.locator("[data-status]").first
    expect(confirm.or_(glass)).to_be_visible(timeout=10_000)
    if confirm.is_visible():
        confirm.click()
        expect(glass.or_(result)).to_be_visible(timeout=15_000)
    if glass.is_visible():
        glass.hover()
        page.mouse.down()
        expect(dialog.locator("#break-glass-press")).to_be_visible(timeout=10_000)
        page.mouse.up()
    expect(dialog.locator('[data-status="CONFIRMED"]')).to_be_visible(timeout=30_000)


def journal(system: AnySystem) -> list[dict[str, Any]]:
    """Return the lines about cancels, of those that were written whole."""
    try:
        text = (system.home / "break_glass.jsonl").read_text()
    except FileNotFoundError:
        return []
    lines = []
    for line in text.splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            continue
    return [line for line in lines if line["kind"] != "REHEARSED"]


def kinds(system: AnySystem) -> Counter[str]:
    return Counter(line["kind"] for line in journal(system))


def recovered(system: AnySystem, *, requests: int) -> Callable[[], bool]:
    def is_so() -> bool:
        time.sleep(0.3)  # a query is a process of its own
        rows = system.select("SELECT status FROM cancels_cancelrequest")
        return len(rows) == requests and {status for (status,) in rows} == {"CONFIRMED"}

    return is_so


def assert_the_log_holds_every_post(system: AnySystem, ems: AnyEms) -> None:
    """Compare the EMS's own count of calls with the attempts in the log, by exchange."""
    attempts = system.select(
        "SELECT r.exchange_id FROM cancels_attempt a JOIN cancels_cancelrequest r"
        " ON r.id = a.request_id"
    )
    assert Counter(exchange_id for (exchange_id,) in attempts) == Counter(
        call.exchange_id for call in ems.calls()
    )
    verified = system.manage("verify_audit")
    assert verified.returncode == 0, verified.stdout + verified.stderr


def cancel_by_command(system: AnySystem, ems: AnyEms) -> bool:
    """Cancel on two exchanges, and return whether the command says that it is journaled."""
    before = Counter(call.exchange_id for call in ems.calls())
    process = system.manage("break_glass", "BINANCE", "KRAKEN", "--reason", "Drill")
    assert process.returncode == 0, process.stderr
    lines = [json.loads(line) for line in process.stdout.splitlines()]
    statuses = {line["exchange_id"]: line["status"] for line in lines}
    assert statuses == {"BINANCE": "CONFIRMED", "KRAKEN": "CONFIRMED"}
    assert Counter(call.exchange_id for call in ems.calls()) - before == Counter(statuses.keys())
    is_journaled = all(line["journaled"] for line in lines)
    assert is_journaled != ("NOT RECORDED" in process.stderr)
    return is_journaled


@pytest.mark.parametrize(
    "outage",
    [
        database_removed,
        postgresql_stopped,
        pytest.param(redis_stopped, marks=LATER),
        pytest.param(all_but_the_web_stopped, marks=LATER),
        pytest.param(postgresql_hangs, marks=LATER),
        pytest.param(postgresql_and_all_but_the_web_stopped, marks=LATER),
    ],
)
def test_a_press_in_the_browser_and_the_command_go_out_and_are_in_the_log_afterwards(
    system: AnySystem, page: Page, ems: AnyEms, outage: Outage
) -> None:
    with outage(system):
        cancel(page, "BINANCE")
        assert len(ems.calls("BINANCE")) == 1
        assert cancel_by_command(system, ems)
    wait_for(recovered(system, requests=3), seconds=60)
    assert_the_log_holds_every_post(system, ems)


@pytest.mark.parametrize(
    "outage",
    [
        pytest.param(read_only, marks=LATER),
        pytest.param(disk_full, marks=LATER),
        everything_at_once,
    ],
)
def test_without_a_disk_the_cancel_goes_out_and_it_is_clear_what_is_not_recorded(
    system: AnySystem, page: Page, ems: AnyEms, outage: Outage
) -> None:
    with outage(system):
        cancel(page, "BINANCE")
        assert len(ems.calls("BINANCE")) == 1
        dialog = page.get_by_role("dialog")
        is_recorded = True
        if dialog.locator("#break-glass-press").is_visible():
            is_recorded = kinds(system)["END"] == 1
            press = dialog.locator("#break-glass-press")
            notice = press.get_by_text("No record could be kept of this cancel")
            expect(notice).to_have_count(0 if is_recorded else 1)
        is_journaled = cancel_by_command(system, ems)
    if is_recorded and is_journaled:
        wait_for(recovered(system, requests=3), seconds=60)
        assert_the_log_holds_every_post(system, ems)
