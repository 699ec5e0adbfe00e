"""What is probably a mistake is said, and keeps nobody from starting."""

from typing import Any

import pytest

from killswitch.accounts.models import Role, User
from killswitch.supervision import startup_banner
from killswitch.supervision.configuration_warnings import warnings

pytestmark = pytest.mark.django_db(transaction=True)


def test_nothing_is_said_of_what_is_usual(settings: Any) -> None:
    assert warnings() == []
    settings.DEMO, settings.KILLSWITCH_ENVIRONMENT, settings.EMS_API_KEY = True, "demo", ""
    assert warnings() == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KILLSWITCH_ENVIRONMENT", "production"),
        ("EMS_API_KEY", "hunter22"),
        ("EMS_CLIENT_CERT", "/etc/killswitch/client.pem"),
        ("EMS_CA_BUNDLE", "/etc/killswitch/authority.pem"),
    ],
)
def test_a_simulator_beside_settings_of_a_real_ems_is_said(
    settings: Any, name: str, value: str
) -> None:
    settings.DEMO, settings.KILLSWITCH_ENVIRONMENT, settings.EMS_API_KEY = True, "demo", ""
    setattr(settings, name, value)
    said = f"{name} is set, but EMS_BASE_URL is not: nothing real is cancelled."
    assert warnings() == [said]
    assert said in startup_banner.text([])


def test_a_real_ems_on_the_database_of_a_demo_is_said() -> None:
    User.objects.create_user(
        username="olga", role=Role.RISK_OFFICER, password="for-this-test", is_demo=True
    )
    (said,) = warnings()
    assert "its simulated exchanges are enabled" in said
    assert said in startup_banner.text([])


def test_a_short_key_that_several_hosts_share_is_said_and_not_repeated(settings: Any) -> None:
    settings.DATABASE_URL, settings.SECRET_KEY = "postgresql://127.0.0.1/log", "hunter22" * 3
    (said,) = warnings()
    assert said.startswith("SECRET_KEY is shorter than 32 signs")
    assert "hunter22" not in said
    settings.SECRET_KEY = "hunter22" * 4
    assert warnings() == []
