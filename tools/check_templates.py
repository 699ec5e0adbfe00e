"""Fails when a template loads tags, or includes or extends a template, of a room above its own.

A template belongs to the room of its folder. It loads the tags of its own room and of rooms below.
Templates at the root are shared by all rooms and load tags of the ground floor only.
The rooms and their order are those of the contract "Rooms import downwards" in `.importlinter`.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).parent.parent
CONTRACT = "importlinter:contract:rooms"
GROUND_FLOOR = "runtime"
# Folders in which other applications look for the pages that we replace.
ROOMS_OF_FOLDERS = {"account": "accounts", "mfa": "accounts", "admin": "accounts"}
LOAD = re.compile(r"{%\s*load\s+([^%]+?)\s*%}")
REFERENCE = re.compile(r"""{%\s*(?:include|extends)\s+["']([^"']+)["']""")


def room_order(path: Path) -> list[str]:
    """Return the rooms of the contract, the highest first."""
    parser = ConfigParser()
    parser.read(path)
    layers = parser[CONTRACT]["layers"].split()
    return [layer.removeprefix("killswitch.") for layer in layers]


def tag_libraries(package: Path) -> dict[str, str]:
    """Return the room of each tag library of ours."""
    modules = package.glob("*/templatetags/*.py")
    return {path.stem: path.parts[-3] for path in modules if path.stem != "__init__"}


def problems(*, templates: Path, rooms: Sequence[str], libraries: dict[str, str]) -> Iterator[str]:
    """Yield a line for each reference that a template must not have."""
    for path in sorted(templates.rglob("*.html")):
        name = path.relative_to(templates).as_posix()
        room = _room(name)
        if room and room not in rooms:
            yield f"{name}: {room} is not a room"
            continue
        text = path.read_text()
        for names in LOAD.findall(text):
            # `{% load filter from library %}` loads from one library.
            for library in names.rpartition(" from ")[2].split():
                owner = libraries.get(library, GROUND_FLOOR)
                if rooms.index(owner) < (rooms.index(room) if room else rooms.index(GROUND_FLOOR)):
                    yield f"{name}: loads {library}, which belongs to {owner}"
        for other in REFERENCE.findall(text):
            owner = _room(other)
            if room and owner in rooms and rooms.index(owner) < rooms.index(room):
                yield f"{name}: refers to {other}, which belongs to {owner}"


def _room(name: str) -> str:
    folder = name.partition("/")[0] if "/" in name else ""
    return ROOMS_OF_FOLDERS.get(folder, folder)


def main() -> None:
    """Check the templates of this project."""
    lines = problems(
        templates=ROOT / "templates",
        rooms=room_order(ROOT / ".importlinter"),
        libraries=tag_libraries(ROOT / "killswitch"),
    )
    if text := "\n".join(lines):
        sys.exit(text)


if __name__ == "__main__":
    main()
