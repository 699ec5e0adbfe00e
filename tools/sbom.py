"""Writes a CycloneDX list of the runtime dependencies.

python tools/sbom.py var/sbom.cdx.json
"""

import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tools.licences import Package, locked_packages  # noqa: E402


def main() -> None:
    """Write the file that the command line names."""
    path = Path(sys.argv[1])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(sbom())
    print(f"{path} lists {len(locked_packages())} packages.")


def sbom() -> str:
    """Return the product with its locked packages, and what depends on what, as JSON."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    direct = [Requirement(text) for text in project["dependencies"]]
    extras = {extra for requirement in direct for extra in requirement.extras}
    components = {canonicalize_name(one.name): _component(one) for one in locked_packages()}
    product = Component(
        type=ComponentType.APPLICATION,
        name=project["name"],
        version=project["version"],
        bom_ref=project["name"],
    )
    bom = Bom(components=components.values())
    bom.metadata.component = product
    bom.register_dependency(product, [components[canonicalize_name(one.name)] for one in direct])
    for name, component in components.items():
        names = {*_required(name, extras)} & components.keys()
        bom.register_dependency(component, [components[required] for required in sorted(names)])
    return JsonV1Dot6(bom).output_as_string(indent=2) + "\n"


def _component(package: Package) -> Component:
    return Component(
        type=ComponentType.LIBRARY,
        name=package.name,
        version=package.version,
        bom_ref=package.name,
        purl=PackageURL("pypi", name=canonicalize_name(package.name), version=package.version),
        licenses=[LicenseFactory().make_from_string(package.licence)],
    )


def _required(package: str, extras: set[str]) -> Iterator[NormalizedName]:
    """Yield the requirements under this Python, with those of the extras that we use."""
    for requirement in map(Requirement, metadata.requires(package) or ()):
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield canonicalize_name(requirement.name)


if __name__ == "__main__":
    main()
