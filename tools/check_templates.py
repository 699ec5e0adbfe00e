"""Fails when a template loads tags, or includes or extends a template, of a package above its own.

A template belongs to the package of its folder. It loads the tags of its own package and of
packages below. Templates at the root are shared by all packages and load tags of `runtime` only.
The packages and their order are those of the contract "Packages import downwards" in
`.importlinter`.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).parent.parent
CONTRACT = "importlinter:contract:packages"
SHARED = "runtime"
# Folders in which other applications look for the pages that we replace.
PACKAGES_OF_FOLDERS = {"account": "accounts", "mfa": "accounts", "admin": "accounts"}
LOAD = re.compile(r"{%\s*load\s+([^%]+?)\s*%}")
REFERENCE = re.compile(r"""{%\s*(?:include|extends)\s+["']([^"']+)["']""")


def package_order(path: Path) -> list[str]:
    """Return the packages of the contract, the highest first."""
    parser = ConfigParser()
    parser.read(path)
    layers = parser[CONTRACT]["layers"].split()
    return [layer.removeprefix("killswitch.") for layer in layers]


def tag_libraries(package: Path) -> dict[str, str]:
    """Return the package of each tag library of ours."""
    modules = package.glob("*/templatetags/*.py")
    return {path.stem: path.parts[-3] for path in modules if path.stem != "__init__"}


def problems(
    *, templates: Path, packages: Sequence[str], libraries: dict[str, str]
) -> Iterator[str]:
    """Yield a line for each reference that a template must not have."""
    for path in sorted(templates.rglob("*.html")):
        name = path.relative_to(templates).as_posix()
        package = _package(name)
        if package and package not in packages:
            yield f"{name}: {package} is not a package"
            continue
        text = path.read_text()
        for names in LOAD.findall(text):
            # `{% load filter from library %}` loads from one library.
            for library in names.rpartition(" from ")[2].split():
                owner = libraries.get(library, SHARED)
                if packages.index(owner) < packages.index(package or SHARED):
                    yield f"{name}: loads {library}, which belongs to {owner}"
        for other in REFERENCE.findall(text):
            owner = _package(other)
            if package and owner in packages and packages.index(owner) < packages.index(package):
                yield f"{name}: refers to {other}, which belongs to {owner}"


def _package(name: str) -> str:
    folder = name.partition("/")[0] if "/" in name else ""
    return PACKAGES_OF_FOLDERS.get(folder, folder)


def main() -> None:
    """Check the templates of this project."""
    lines = problems(
        templates=ROOT / "templates",
        packages=package_order(ROOT / ".importlinter"),
        libraries=tag_libraries(ROOT / "killswitch"),
    )
    if text := "\n".join(lines):
        sys.exit(text)


if __name__ == "__main__":
    main()
