"""The fingerprint changes with every setting and tells no secret."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings

from killswitch.supervision import fingerprint

ROOT = Path(django_settings.BASE_DIR)
READ_BY_SETTINGS = re.compile(r'environment\.\w+\(\s*"([A-Z_]+)"')
NO_PART_OF_IT = {"LOG_LEVEL", "SIMULATOR_PORT"}  # neither changes what a kill does


def variables() -> set[str]:
    return set(READ_BY_SETTINGS.findall((ROOT / "killswitch" / "settings.py").read_text()))


def test_the_same_settings_have_the_same_fingerprint() -> None:
    assert fingerprint.take() == fingerprint.take()


@pytest.mark.parametrize("name", [*fingerprint.PLAIN, *fingerprint.SECRET, "SECRET_KEY"])
def test_another_value_of_any_setting_is_another_fingerprint(settings: Any, name: str) -> None:
    before = fingerprint.take().digest
    setattr(settings, name, "another value")
    assert fingerprint.take().digest != before


def test_every_variable_that_is_read_is_part_of_it() -> None:
    known = {*fingerprint.PLAIN, *fingerprint.SECRET, "SECRET_KEY"}
    assert len(variables()) > 15
    assert variables() - NO_PART_OF_IT <= known


def test_every_variable_that_is_read_is_explained_in_the_example() -> None:
    example = (ROOT / ".env.example").read_text()
    explained = set(re.findall(r"^#?([A-Z_]+)=", example, re.MULTILINE))
    assert variables() <= explained


def test_what_is_recorded_holds_no_secret(settings: Any) -> None:
    secrets = {name: f"secret-of-{name}" for name in (*fingerprint.SECRET, "SECRET_KEY")}
    for name, value in secrets.items():
        setattr(settings, name, value)
    settings.EMS_BASE_URL = "https://me:hunter22@ems.example.com"
    taken = fingerprint.take()
    recorded = json.dumps([taken.digest, taken.plain])
    assert "hunter22" not in recorded
    assert [value for value in secrets.values() if value in recorded] == []
