"""CSV whose cells no spreadsheet runs as formulas, and from which the exact text can be had back.

A spreadsheet runs a cell that begins with `= + - @`, a tab or a line break (OWASP, "CSV
Injection"); one that splits at semicolons or tabs, or ignores quotes, also begins a cell in the
middle of ours. So an apostrophe goes before such a sign at the start of a cell and after anything
that may be taken for a delimiter. It also goes before an apostrophe in that place: then taking one
away there always gives the original.
"""

import re
from collections.abc import Iterable

LINE_END = "\r\n"
# The last four are the full-width forms, which some spreadsheets read like the first four.
_RUN = "=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20"
_PLACE = '(^|[,;|\t\r\n])([ "]*)'
_UNSAFE = re.compile(f"{_PLACE}(?=['{_RUN}])")
_GUARDED = re.compile(f"{_PLACE}'(?=['{_RUN}])")


def escape(text: str) -> str:
    """The text as it may stand in a cell."""
    return _UNSAFE.sub(r"\1\2'", text)


def unescape(cell: str) -> str:
    """What `guard` was given."""
    return _GUARDED.sub(r"\1\2", cell)


def row(cells: Iterable[str]) -> str:
    """One line of the file, with everything quoted."""
    return ",".join(f'"{_quoted(cell)}"' for cell in cells) + LINE_END


def _quoted(text: str) -> str:
    return escape(text).replace('"', '""')
