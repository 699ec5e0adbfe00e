"""What the person who started the system reads: its address, its EMS, and who can sign in."""

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
