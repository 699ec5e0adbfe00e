"""What the person who started the system reads: its address, its EMS, and who can sign in."""

import http.server
import threading
from typing import Any

import pytest

from killswitch.accounts.demo import DemoUser
from killswitch.accounts.models import Role
from killswitch.supervision import startup_banner
from tests import factories

pytestmark = pytest.mark.django_db
ADD_USER = "manage.py add_user NAME --role risk_officer"


def test_with_a_real_ems_and_no_user_the_command_that_adds_one_can_be_copied() -> None:
    banner = startup_banner.text([])
    assert ADD_USER in banner
    command = next(line for line in banner.splitlines() if ADD_USER in line)
    assert command.startswith("  /")  # works from any directory, with the right Python


def test_with_a_user_that_command_is_not_printed() -> None:
    factories.person(Role.RISK_OFFICER)
    assert ADD_USER not in startup_banner.text([])


def test_a_real_ems_is_not_called_a_demo(settings: Any) -> None:
    assert "(real)" in startup_banner.text([])
    assert "Set KILLSWITCH_ENVIRONMENT to uat or production" in startup_banner.text([])
    settings.KILLSWITCH_ENVIRONMENT = "production"
    assert "(production)" in startup_banner.text([])
    assert "KILLSWITCH_ENVIRONMENT" not in startup_banner.text([])


def test_the_demo_lists_its_users(settings: Any) -> None:
    settings.DEMO, settings.KILLSWITCH_ENVIRONMENT = True, "demo"
    banner = startup_banner.text([DemoUser("olga", Role.RISK_OFFICER, "a-password")])
    assert "(demo)" in banner
    assert "  olga     a-password   (risk officer)" in banner


@pytest.mark.parametrize(
    ("hosts", "sent"),
    [
        (["kill_switch", "b\u00fccher.example", "127.0.0.1"], "127.0.0.1"),
        (["kill_switch", ".example.com"], "example.com"),
        (["kill_switch"], "localhost"),
        (["*"], "localhost"),
    ],
)
def test_the_start_is_noticed_whatever_host_names_are_allowed(
    settings: Any, hosts: list[str], sent: str
) -> None:
    """The web process refuses other names, and then the banner would never be printed."""
    hosts_sent = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            hosts_sent.append(self.headers["Host"])
            self.send_response(400 if hosts == ["kill_switch"] else 200)
            self.end_headers()

    settings.ALLOWED_HOSTS = hosts
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        settings.HOST, settings.PORT = "127.0.0.1", server.server_port
        threading.Thread(target=server.handle_request, daemon=True).start()
        printed, stop = threading.Event(), threading.Event()
        startup_banner.once_web_is_up(printed.set, stop=stop)
        assert printed.wait(10)
        stop.set()
    assert hosts_sent == [sent]
