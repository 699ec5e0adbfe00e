"""Values that could not work are found before the start, and told without their secrets."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from killswitch.supervision import keeper, preflight, preparation
from killswitch.supervision.refusal import CannotStart


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("EMS_BASE_URL", "http://"),
        ("EMS_BASE_URL", "https://ems.example.com?key=hunter22"),
        ("EMS_BASE_URL", "https://somebody:hunter22@ems.example.com"),
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
            preparation.prepare()
        case "supervisord.conf":
            keeper.keep(
                programs=[], directory=path.parent, feed=lambda *_: None, on_stopping=lambda: None
            )
        case _:
            with preflight.sole_holder(path):
                pass


def test_a_disk_without_room_for_a_lock_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "ftruncate", full)
    with (
        pytest.raises(CannotStart, match=r"^KILLSWITCH_HOME: .* \(No space left"),
        preflight.sole_holder(tmp_path / "up-web.lock"),
    ):
        pass


def test_what_fails_while_a_lock_is_held_is_not_blamed_on_the_home(tmp_path: Path) -> None:
    with pytest.raises(BrokenPipeError), preflight.sole_holder(tmp_path / "up-web.lock"):
        raise BrokenPipeError
