"""Writes CSV that no spreadsheet runs as formulas, and from which the exact text can be restored.

A spreadsheet runs a cell that begins with `= + - @`, a tab or a line break (OWASP, "CSV
Injection"); one that splits at semicolons or tabs, or ignores quotes, also begins a cell in the
middle of ours. So an apostrophe is added before such a character at the start of a cell, and after
any possible delimiter. It is also added before an apostrophe in that position, so that removing
one there always restores the original.
"""

import re
from collections.abc import Iterable

LINE_END = "\r\n"
# The last four are the full-width forms, which some spreadsheets read like the first four.
_FORMULA_START = "=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20"
_UNSAFE = re.compile(f"(^|[,;|\t\r\n])([ \"]*)(?=['{_FORMULA_START}])")


def escape(text: str) -> str:
    """Return the text as a spreadsheet can safely show it in a cell."""
    return _UNSAFE.sub(r"\1\2'", text)


def row(cells: Iterable[str]) -> str:
    """Return one line of the file, with every cell escaped and quoted."""
    texts = (escape(cell).replace('"', '""') for cell in cells)
    return ",".join(f'"{cell}"' for cell in texts) + LINE_END
