"""What is read from the environment is either usable, or refused by its name."""

import pytest
from django.core.exceptions import ImproperlyConfigured

from killswitch import environment


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
