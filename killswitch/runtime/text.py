"""Foreign text made safe to store and to show, and numbers in words.

Each character has one rule for each purpose:

| character                               | sanitize | clean_line | escape_controls        |
|-----------------------------------------|----------|------------|------------------------|
| NUL                                     | \\u0000  | removed    | ␀                      |
| half of a surrogate pair                | \\ud800  | removed    | \\ud800                |
| tab, line feed, carriage return         | kept     | a space    | ␉ ␊ ␍ unless in `keep` |
| control character below U+0020          | kept     | removed    | its picture, e.g. ␛    |
| control character from U+007F to U+009F | kept     | removed    | \\u009b                |
| invisible, or turns the direction       | kept     | kept       | \\u202e                |
| space other than U+0020, line separator | kept     | kept       | \\u00a0                |
| unassigned                              | kept     | kept       | \\u0378                |
| all others                              | kept     | kept       | kept                   |

`sanitize` is for the words of machines, stored as they came; `clean_line` is for what users type
into one line. Stored and hashed values were made by these two rules, so neither may change.
`escape_controls` is for the moment of showing: on a page, on a terminal, in a line of a log.
"""

import re
import unicodedata
from collections.abc import Iterable
from difflib import get_close_matches

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_LINE_SPACE = "\t\r\n"
_CONTROL_PICTURES = 0x2400
MS_PER_S = 1000
MAX_QUOTED_CHARS = 60


def sanitize(text: str) -> str:
    """Return text that both databases store: NUL and lone surrogates become visible escapes."""
    return _UNSTORABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def clean_line(text: str, *, max_chars: int) -> str:
    """Return what a user typed, on one line, without control characters, stripped and cut."""
    # Only so much is read: control characters in front of the words must not cost all of a body.
    characters = (
        " " if character in _LINE_SPACE else character
        for character in text[: max_chars * 4]
        if character in _LINE_SPACE or unicodedata.category(character) not in {"Cc", "Cs"}
    )
    return "".join(characters).strip()[:max_chars]


def truncate(text: str, max_chars: int, *, mark: str = "…") -> str:
    """Return the text in at most `max_chars` characters; one that was cut ends with the mark."""
    return text if len(text) <= max_chars else text[: max_chars - len(mark)] + mark


def escape_controls(text: str, *, keep: str = "") -> str:
    """Return text in which no character acts on a screen, on one line unless `keep` has `\\n`.

    Control characters become their pictures, and every other character that is invisible or
    changes the direction of writing becomes `\\u` and its number. `keep` is left alone.
    """
    if text.isprintable():
        return "".join(text)  # not itself: a text that is marked as safe must lose that mark
    return "".join(
        character
        if character.isprintable() or character in keep
        else chr(_CONTROL_PICTURES + ord(character))
        if character < " "
        else f"\\u{ord(character):04x}"
        for character in text
    )


def quoted(text: str) -> str:
    """Return a wrong value for an error message: in quotes, cut, without control characters."""
    return f"“{escape_controls(truncate(text, MAX_QUOTED_CHARS))}”"


def error_line(error: BaseException) -> str:
    """Return the first line of an error's message, or the name of its class without one."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def close_names(text: str, names: Iterable[str], *, n: int = 3) -> list[str]:
    """Return up to n names that may have been meant by a mistyped text, the likeliest first.

    A name is found by the whole of it or by one of its words.
    """
    by_whole = {name.casefold(): [name] for name in names}
    by_word: dict[str, list[str]] = {}
    for whole, found in by_whole.items():
        for word in re.findall(r"\w+", whole):
            by_word.setdefault(word, []).extend(found)
    by_word |= by_whole
    close = get_close_matches(text.casefold(), by_word, n=n)
    return list(dict.fromkeys(name for word in close for name in by_word[word]))[:n]


def pluralize_count(number: int, noun: str) -> str:
    """Return e.g. "1 order" or "2,040 orders", for nouns with a plural in s."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def clock_text(seconds: float) -> str:
    """Return a duration that a page counts up: "02:14:07", or "2 d 02:14:07" from one day on."""
    minutes, second = divmod(max(0, int(seconds)), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    return f"{f'{days} d ' if days else ''}{hour:02}:{minute:02}:{second:02}"


def duration_text(milliseconds: float) -> str:
    """Return a duration to read at a glance: "212 ms", "11.8 s", "3 min", "2 h 4 min"."""
    if round(milliseconds) < MS_PER_S:
        return f"{milliseconds:.0f} ms"
    seconds = round(milliseconds / MS_PER_S, 1)
    if seconds < 120:
        return f"{seconds:g} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
