"""Writes the diagram of the statuses into the documentation, or fails when it is outdated.

python tools/state_diagram.py [--check]
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "statuses.md"

sys.path.insert(0, str(ROOT))

from killswitch.cancels import states  # noqa: E402


def main() -> None:
    """Write the page, or compare it."""
    if "--check" not in sys.argv:
        PAGE.write_text(page())
    elif not PAGE.exists() or PAGE.read_text() != page():
        sys.exit(f"{PAGE.relative_to(ROOT)} does not match the code: run `make diagram`.")


def page() -> str:
    """Return the whole page, which is never edited by hand."""
    rows = [
        f"| {status} | {states.LABELS[status]} | {states.MEANINGS[status]} |"
        for status in states.Status
    ]
    return "\n".join(
        [
            "# Statuses of a request",
            "",
            "Written by `make diagram` from `killswitch/cancels/states.py`; `make check` compares.",
            "",
            "| status | on the screen | what is known |",
            "|---|---|---|",
            *rows,
            "",
            "```mermaid",
            states.diagram().rstrip(),
            "```",
            "",
        ]
    )


if __name__ == "__main__":
    main()
