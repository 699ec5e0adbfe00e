"""What is read from the environment is either usable, or refused by its name."""

import os
import runpy
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

import killswitch
from killswitch import environment
from tests.supervision.running import NOT_INHERITED


@pytest.mark.parametrize(
    "value",
    [
        "ems.example.com",
        "ftp://ems.example.com",
        "http://[::1",
        "http://127.0.0.1:port",
        "http://somebody:hunter22@127.0.0.1:99999",
    ],
)
def test_what_is_no_url_is_refused_without_repeating_it(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("EMS_BASE_URL", value)
    with pytest.raises(ImproperlyConfigured, match=r"^EMS_BASE_URL must be a URL") as refused:
        environment.url("EMS_BASE_URL", schemes=("http", "https"))
    assert "hunter22" not in str(refused.value)


def test_a_wrong_number_is_told_with_its_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SESSION_HOURS", "twelve")
    with pytest.raises(
        ImproperlyConfigured, match="SESSION_HOURS='twelve': give a number of hours"
    ):
        environment.seconds("SESSION_HOURS", 12, unit="hours")


def settings_with(monkeypatch: pytest.MonkeyPatch, **variables: str) -> dict[str, Any]:
    """The settings, read anew under these variables."""
    for name in [name for name in os.environ if NOT_INHERITED.match(name)]:
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return runpy.run_path(str(Path(killswitch.__file__).parent / "settings.py"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KILLSWITCH_ENVIRONMENT", "production"),
        ("KILLSWITCH_ENVIRONMENT", "uat"),
        ("EMS_API_KEY", "hunter22"),
        ("EMS_CLIENT_CERT", "/etc/killswitch/client.pem"),
        ("EMS_CA_BUNDLE", "/etc/killswitch/authority.pem"),
    ],
)
def test_what_is_meant_for_a_real_ems_never_starts_the_demo(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, value: str
) -> None:
    with pytest.raises(ImproperlyConfigured, match=rf"^EMS_BASE_URL is not set, .*{name}") as said:
        settings_with(monkeypatch, KILLSWITCH_HOME=str(tmp_path), **{name: value})
    assert "hunter22" not in str(said.value)
    given = {name: value, "EMS_BASE_URL": "http://127.0.0.1:9"}
    assert not settings_with(monkeypatch, KILLSWITCH_HOME=str(tmp_path), **given)["DEMO"]


def test_without_any_variable_it_is_the_demo(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made = settings_with(monkeypatch, KILLSWITCH_HOME=str(tmp_path))
    assert (made["DEMO"], made["KILLSWITCH_ENVIRONMENT"]) == (True, "demo")
