"""Fill in the form of a page as a browser does: with all that the page has put into it."""

from html.parser import HTMLParser
from typing import Any

from django.test import Client


class _Form(HTMLParser):
    """Reads what the last form of a page would send as it is."""

    def __init__(self) -> None:
        super().__init__()
        self.fields: dict[str, list[str]] = {}
        self.lengths: list[str] = []
        self._textarea = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        name, kind = values.get("name", ""), values.get("type", "text")
        if tag == "form":
            self.fields = {}
        elif tag == "textarea":
            self._textarea = name
            self.fields[name] = [""]
        elif tag == "input" and name and (kind not in {"checkbox", "radio"} or "checked" in values):
            default = "on" if kind in {"checkbox", "radio"} else ""
            self.fields.setdefault(name, []).append(values.get("value", default))
        if "maxlength" in values:
            self.lengths.append(name)

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea":
            self._textarea = ""

    def handle_data(self, data: str) -> None:
        if self._textarea:
            # The line break that follows the tag is not part of the text.
            self.fields[self._textarea][0] += data.removeprefix("\n")


def read_form(page: Any) -> dict[str, list[str]]:
    """Return what the last form of a page would send."""
    form = _Form()
    form.feed(page.content.decode())
    return form.fields


def cut_by_the_browser(page: Any) -> list[str]:
    """Return the names of the fields whose input a browser would cut."""
    form = _Form()
    form.feed(page.content.decode())
    return form.lengths


def submit(client: Client, path: str, **typed: Any) -> Any:
    """Open a page, fill in its form, and send it."""
    return client.post(path, read_form(client.get(path)) | typed)
