"""What an operator may set is written down, and reaches the containers."""

import re
from pathlib import Path

import pytest
from django.conf import settings

ROOT = Path(settings.BASE_DIR)
READ = re.compile(r"environment\.\w+\(\s*\"([A-Z_]+)\"")
VARIABLES = sorted(set(READ.findall((ROOT / "killswitch" / "settings.py").read_text())))
# In a container these are always the same, and there is no simulator.
FIXED = {"HOST", "PORT", "KILLSWITCH_HOME", "SIMULATOR_PORT"}


@pytest.mark.parametrize("name", VARIABLES)
def test_each_variable_is_explained(name: str) -> None:
    assert re.search(rf"^#?{name}=", (ROOT / ".env.example").read_text(), re.M)


@pytest.mark.parametrize("name", sorted(set(VARIABLES) - FIXED))
def test_each_variable_reaches_the_containers(name: str) -> None:
    assert re.search(rf"^    {name}: .+", (ROOT / "docker-compose.yml").read_text(), re.M)


def test_nothing_in_the_example_makes_a_production_a_demo() -> None:
    given = re.findall(r"^([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.M)
    assert not {"KILLSWITCH_ENVIRONMENT", "ALLOWED_HOSTS"} & set(given)
