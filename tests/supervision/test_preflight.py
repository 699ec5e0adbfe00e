"""Values that could not work are found before the start, and told without their secrets."""

from typing import Any

import pytest

from killswitch.supervision import preflight
from killswitch.supervision.errors import CannotStart


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("EMS_BASE_URL", "http://"),
        ("EMS_BASE_URL", "https://ems.example.com?key=hunter22"),
        ("EMS_BASE_URL", "https://somebody:hunter22@ems.example.com"),
        ("EMS_BASE_URL", "https://ems.example.com https://hunter22.example.com"),
        ("EMS_BASE_URL", "https://ems.example.com/hunter22 /v1"),
        ("EMS_BASE_URL", "https://*.example.com"),
        ("EMS_BASE_URL", "https://ems.example.com:0"),
        ("EMS_BASE_URL", "https://-ems..example.com"),
        ("EMS_API_KEY", "hunter22 hunter22"),
        ("EMS_CLIENT_CERT", "/nowhere/client.pem"),
        ("EMS_CLIENT_CERT", __file__),
        ("EMS_CA_BUNDLE", "/nowhere/authority.pem"),
        ("EMS_CA_BUNDLE", __file__),
    ],
)
def test_an_ems_that_no_client_can_be_made_for_is_refused(
    settings: Any, name: str, value: str
) -> None:
    setattr(settings, name, value)
    with pytest.raises(CannotStart, match=rf"^{name}") as refused:
        preflight.check_ems()
    assert "hunter22" not in str(refused.value)


def test_an_ems_that_does_not_answer_is_no_reason_not_to_start(settings: Any) -> None:
    settings.EMS_BASE_URL = "http://127.0.0.1:9"
    preflight.check_ems()


# One of the library's many plugins asks for this module.
@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
@pytest.mark.parametrize("url", ["hunter22", "nosuchservice://hunter22"])
def test_a_place_that_could_not_be_told_of_alarms_is_refused_by_its_number(
    settings: Any, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings.ALERT_URLS = ("json://127.0.0.1/", url)
    with pytest.raises(CannotStart, match=r"^ALERT_URLS: number 2") as refused:
        preflight.check_alert_urls()
    assert "hunter22" not in str(refused.value)
    assert caplog.text == ""


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
def test_places_that_can_be_told_are_taken(settings: Any) -> None:
    settings.ALERT_URLS = ("json://127.0.0.1/", "mailto://somebody:secret@example.com")
    preflight.check_alert_urls()
