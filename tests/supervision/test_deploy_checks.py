"""`manage.py check --deploy` accepts a complete production system, and says what one lacks."""

import re
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.core.checks import CheckMessage

from killswitch.supervision import checks, deploy_checks
from tests.image.compose import services
from tests.supervision.system_process import MANAGE, environment

COMPOSE = Path(MANAGE).parent / "docker-compose.yml"
SIGNING_KEY = Ed25519PrivateKey.generate().private_bytes(
    serialization.Encoding.PEM,
    serialization.PrivateFormat.PKCS8,
    serialization.NoEncryption(),
)
COMPLETE = {
    "SECRET_KEY": secrets.token_urlsafe(50),
    "ALLOWED_HOSTS": "killswitch.example.com",
    "EMS_BASE_URL": "https://ems.example.com",
    "EMS_API_KEY": "key-of-the-ems",
    "AUDIT_SIGNING_KEY": SIGNING_KEY.decode().replace("\n", "\\n"),
    "ALERT_URLS": "json://pager.example.com",
    "ARCHIVE_URLS": "json://archive.example.com",
    "SECOND_FACTOR": "required",
    "TRUSTED_PROXY_COUNT": "1",
}


def check_deploy(home: Path, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run the check in the environment of a container of the web process."""

    passwords = {"POSTGRES_PASSWORD": "letters", "REDIS_PASSWORD": "letters"}
    web = services(COMPOSE, variables=passwords | variables)["web"]
    return subprocess.run(
        [sys.executable, MANAGE, "check", "--deploy", "--fail-level", "WARNING"],
        env=environment(KILLSWITCH_HOME=str(home), **web.environment | {"HOST": "0.0.0.0"}),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_complete_production_system_has_no_warning(tmp_path: Path) -> None:
    process = check_deploy(tmp_path, COMPLETE)
    assert (process.returncode, process.stderr) == (0, ""), process.stderr
    assert "no issues (3 silenced)" in process.stdout


def test_a_production_system_that_lacks_everything_has_a_warning_for_each(tmp_path: Path) -> None:
    required = {"ALLOWED_HOSTS", "EMS_BASE_URL"}
    variables = {name: COMPLETE[name] for name in required} | {"SECRET_KEY": "short"}
    process = check_deploy(tmp_path, variables)
    assert process.returncode != 0
    ids = set(re.findall(r"\(killswitch\.(\w+)\)", process.stderr))
    assert ids == {"W003", "W020", "W021", "W022", "W023"}
    # Of Django's own: no HSTS, a weak key, and cookies that travel without TLS.
    assert set(re.findall(r"\(security\.(\w+)\)", process.stderr)) == {
        *("W004", "W009", "W012", "W016")
    }


def texts(messages: Iterable[CheckMessage]) -> list[str]:
    return [message.msg for message in messages]


@pytest.fixture
def production(settings: Any) -> Any:
    """Return settings of a complete production system."""
    settings.DEMO = False
    settings.KILLSWITCH_ENVIRONMENT = "production"
    settings.DATABASE_URL = "postgresql://127.0.0.1/log"
    settings.AUDIT_SIGNING_KEY = SIGNING_KEY.decode()
    settings.ALERT_URLS = ("json://127.0.0.1/",)
    settings.SECOND_FACTOR = "required"
    settings.TRUSTED_PROXY_COUNT, settings.HOST = 1, "0.0.0.0"
    settings.EMS_BASE_URL, settings.EMS_API_KEY = "https://ems.example.com", ""
    return settings


CASES: list[tuple[Callable[..., Iterable[CheckMessage]], dict[str, object], str]] = [
    (deploy_checks.check_signing_key, {"AUDIT_SIGNING_KEY": ""}, "AUDIT_SIGNING_KEY_FILE"),
    (deploy_checks.check_alerts, {"ALERT_URLS": ()}, "manage.py test_alert"),
    (deploy_checks.check_second_factor, {"SECOND_FACTOR": "optional"}, "SECOND_FACTOR=required"),
    (deploy_checks.check_proxy, {"TRUSTED_PROXY_COUNT": 0}, "set TRUSTED_PROXY_COUNT=1"),
    (deploy_checks.check_ems_tls, {"EMS_BASE_URL": "http://ems.example.com"}, "Write https://."),
]


@pytest.mark.parametrize(("check", "mistake", "advice"), CASES)
def test_each_warning_says_what_to_do(
    production: Any,
    check: Callable[..., Iterable[CheckMessage]],
    mistake: dict[str, object],
    advice: str,
) -> None:
    assert texts(check()) == []
    for name, value in mistake.items():
        setattr(production, name, value)
    (text,) = texts(check())
    assert advice in text


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_a_console_for_this_machine_only_needs_no_proxy(production: Any, host: str) -> None:
    production.TRUSTED_PROXY_COUNT, production.HOST = 0, host
    assert texts(deploy_checks.check_proxy()) == []


def test_an_ems_on_this_machine_needs_no_tls(production: Any) -> None:
    production.EMS_BASE_URL = "http://127.0.0.1:9"
    assert texts(deploy_checks.check_ems_tls()) == []


@pytest.mark.django_db(transaction=True)
def test_a_start_does_not_repeat_them(production: Any) -> None:
    production.SECOND_FACTOR, production.ALERT_URLS = "optional", ()
    production.SECRET_KEY = "hunter22" * 4
    assert checks.warnings() == []
