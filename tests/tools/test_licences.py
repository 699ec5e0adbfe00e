"""The licences and the list of the dependencies are complete and current."""

import json
import re
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tools import licences, sbom

ROOT = Path(licences.ROOT)


def test_the_page_is_current_and_names_a_licence_for_each_package() -> None:
    assert licences.PAGE.read_text() == licences.page()
    names = re.findall(r"^([a-z0-9][\w.-]*)(?:\[|==)", licences.LOCK.read_text(), re.MULTILINE)
    assert [package.name for package in licences.locked_packages()] == sorted(names)


def test_an_outdated_page_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = licences.ROOT / "docs" / "statuses.md"
    monkeypatch.setattr(licences, "PAGE", page)
    monkeypatch.setattr("sys.argv", ["licences.py", "--check"])
    with pytest.raises(SystemExit, match="run `make licences`"):
        licences.main()


@pytest.mark.parametrize(
    ("package", "name"),
    [("click", "BSD-3-Clause"), ("python-dateutil", "Apache Software License or BSD License")],
)
def test_a_licence_is_what_the_package_states(package: str, name: str) -> None:
    assert licences.licence(package) == name


def test_the_list_of_dependencies_follows_the_schema_and_is_complete() -> None:
    text = sbom.sbom()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    bom = json.loads(text)
    names = [package.name for package in licences.locked_packages()]
    assert [component["name"] for component in bom["components"]] == names
    assert all(component["licenses"] for component in bom["components"])
    depends_on = {entry["ref"]: entry.get("dependsOn", []) for entry in bom["dependencies"]}
    assert {"requests", "celery"} <= {*depends_on["killswitch"]}
    assert {"kombu", "billiard"} <= {*depends_on["celery"]}
    reached: set[str] = set()
    waiting = ["killswitch"]
    while waiting:
        reached.add(name := waiting.pop())
        waiting += {*depends_on[name]} - reached
    assert {*names} - reached == set(), "each package is there because something requires it"


def test_the_product_names_its_own_licence() -> None:
    assert 'license-files = ["LICENSE"]' in (ROOT / "pyproject.toml").read_text()
    assert "All rights reserved" in (ROOT / "LICENSE").read_text()
