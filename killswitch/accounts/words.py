"""What people write, as the log can hold it."""

import unicodedata


def said(text: str, longest: int) -> tuple[str, bool]:
    """The text without control signs and not too long, and whether that changed anything."""
    kept = "".join(
        " " if sign in "\t\r\n" else sign
        for sign in text[: longest * 4]
        if sign in "\t\r\n" or unicodedata.category(sign) not in {"Cc", "Cs"}
    )
    cut = kept.strip()[:longest]
    return cut, cut != text.strip()
