"""What the person who started the system reads: where it is, which EMS, and who may sign in."""

from typing import Any

import pytest

from killswitch.accounts.demo import DemoPerson
from killswitch.accounts.models import Role, User
from killswitch.supervision import startup_banner

pytestmark = pytest.mark.django_db
ADD_USER = "manage.py add_user NAME --role risk_officer"


def test_with_a_real_ems_and_nobody_to_sign_in_the_line_that_adds_a_person_can_be_copied() -> None:
    said = startup_banner.text([])
    assert ADD_USER in said
    command = next(line for line in said.splitlines() if ADD_USER in line)
    assert command.startswith("  /")  # works from any directory, with the right Python


def test_where_somebody_may_sign_in_it_is_not_printed() -> None:
    User.objects.create_user(username="olga", role=Role.RISK_OFFICER, password="for-this-test")
    assert ADD_USER not in startup_banner.text([])


def test_a_real_ems_is_not_called_a_demo(settings: Any) -> None:
    assert "(real)" in startup_banner.text([])
    assert "say which with KILLSWITCH_ENVIRONMENT" in startup_banner.text([])
    settings.KILLSWITCH_ENVIRONMENT = "production"
    assert "(production)" in startup_banner.text([])
    assert "KILLSWITCH_ENVIRONMENT" not in startup_banner.text([])


def test_the_demo_names_its_people(settings: Any) -> None:
    settings.DEMO, settings.KILLSWITCH_ENVIRONMENT = True, "demo"
    said = startup_banner.text([DemoPerson("olga", Role.RISK_OFFICER, "a-password")])
    assert "(demo)" in said
    assert "  olga     a-password   (risk officer)" in said
