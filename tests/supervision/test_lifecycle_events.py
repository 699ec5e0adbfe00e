"""The record of a start: a fingerprint that changes with every setting and reveals no secret."""

import json
from typing import Any

import pytest

from killswitch import env
from killswitch.supervision.lifecycle_events import (
    PLAIN_SETTINGS,
    SECRET_SETTINGS,
    fingerprint,
    plain_settings,
)
from tests.test_packaging import VARIABLES

# They do not change what a kill does.
NOT_RECORDED = {"LOG_LEVEL", "LOG_FORMAT", "SIMULATOR_PORT"}
RECORDED = (*PLAIN_SETTINGS, *SECRET_SETTINGS, "SECRET_KEY")


def test_the_same_settings_have_the_same_fingerprint() -> None:
    assert fingerprint() == fingerprint()


@pytest.mark.parametrize("name", RECORDED)
def test_a_changed_setting_changes_the_fingerprint(settings: Any, name: str) -> None:
    before = fingerprint()
    setattr(settings, name, "another value")
    assert fingerprint() != before


def test_every_variable_is_part_of_the_fingerprint() -> None:
    assert set(VARIABLES) - NOT_RECORDED <= set(RECORDED)


def test_every_secret_that_may_be_in_a_file_is_part_of_it_by_its_value() -> None:
    """A secret that moves from a variable to a file is the same, and so is the fingerprint."""
    assert {*SECRET_SETTINGS, "SECRET_KEY", "KILLSWITCH_PASSWORD"} == {*env.FROM_FILES}


def test_the_record_contains_no_secret(settings: Any) -> None:
    secrets = {name: f"secret-of-{name}" for name in (*SECRET_SETTINGS, "SECRET_KEY")}
    for name, value in secrets.items():
        setattr(settings, name, value)
    settings.EMS_BASE_URL = "https://me:hunter22@ems.example.com"
    record = json.dumps([fingerprint(), plain_settings()])
    assert "hunter22" not in record
    assert [value for value in secrets.values() if value in record] == []
