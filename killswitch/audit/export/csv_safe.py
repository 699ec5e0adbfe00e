"""Writes CSV that no spreadsheet runs as formulas, and from which the exact text can be restored.

A spreadsheet runs a cell that begins with `= + - @`, a tab or a line break (OWASP, "CSV
Injection"); one that splits at semicolons or tabs, or ignores quotes, also begins a cell in the
middle of ours. So an apostrophe is added before such a character at the start of a cell, and after
any possible delimiter. It is also added before an apostrophe in that position, so that removing
one there always restores the original.

A spreadsheet cuts a cell after 32,767 characters, and some refuse the file. A longer text is cut
here, where the cell can say so.
"""

import re
from collections.abc import Iterable

LINE_END = "\r\n"
QUOTE = '"'
# Every cell is shorter than this, in UTF-16 code units, which is how spreadsheets count.
CELL_LIMIT = 32_000
MAX_WORD_CHARS = 1000  # of a text that is written as it is
# The last four are the full-width forms, which some spreadsheets read like the first four.
_FORMULA_START = "=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20"
_DELIMITERS = ",;|\t\r\n"
_UNSAFE = re.compile(f"(^|[{_DELIMITERS}])([ \"]*)(?=['{_FORMULA_START}])")
# Both halves of it, each of which is found several times as fast.
_UNSAFE_AT_START = re.compile(f"[ \"]*['{_FORMULA_START}]")
_UNSAFE_LATER = re.compile(f"[{_DELIMITERS}][ \"]*['{_FORMULA_START}]")


def escape(text: str) -> str:
    """Return the text as a spreadsheet can safely show it in a cell."""
    if _UNSAFE_AT_START.match(text) or _UNSAFE_LATER.search(text):
        return _UNSAFE.sub(r"\1\2'", text)
    return text


def cell(text: str) -> str:
    """Return the escaped text; one that is too long for a cell is cut and ends with a mark."""
    escaped = escape(text)
    if 2 * len(escaped) < CELL_LIMIT:
        return escaped
    units = escaped.encode("utf-16-le")
    if len(units) < 2 * CELL_LIMIT:
        return escaped
    mark = f"… (cut; {len(text):,} characters; the whole text is in the JSONL export)"
    kept = units[: 2 * (CELL_LIMIT - 1 - len(mark))]
    return kept.decode("utf-16-le", errors="ignore") + mark  # without half of the last character


def row(cells: Iterable[str]) -> str:
    """Return one line of the file, with every cell escaped, cut if it is too long, and quoted."""
    quoted = [
        # Most cells are words, numbers or hashes, of which nothing has to be escaped.
        f'"{text}"'
        if text.isalnum() and len(text) < MAX_WORD_CHARS
        else f'"{cell(text).replace(QUOTE, QUOTE + QUOTE)}"'
        for text in cells
    ]
    return ",".join(quoted) + LINE_END


# The last line of a file whose export has failed. The lines before it are whole.
INTERRUPTED = row(["INCOMPLETE: the export failed here. Rows are missing; export again."]).encode()
