"""Values of a filter: read from an address, or refused with a sentence that says what to enter."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.http import QueryDict

from killswitch.runtime.http import parse_id
from killswitch.runtime.text import close_names, escape_controls, quoted

MAX_CHARS: Final = 200
PAGE_SIZES: Final = (50, 100, 200)


class InvalidFilter(ValueError):
    """A filter that cannot be applied, with a sentence for each wrong field."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        super().__init__(" ".join(errors.values()))
        self.errors = errors


@dataclass(frozen=True, kw_only=True)
class FilterLink:
    """A filter that is one click away."""

    label: str
    query: str
    is_current: bool


@dataclass(frozen=True)
class Field:
    """A field of a filter: its attribute, its label on the page, and what reads its text."""

    attribute: str
    label: str
    parse: Callable[..., Any]


def read_query(
    query: QueryDict, fields: Mapping[str, Field], *, others: Collection[str]
) -> tuple[dict[str, str], dict[str, str]]:
    """Return the texts of an address by name, and an error for each name that is repeated.

    `others` are the parameters of the page that belong to no filter.
    """
    errors = {
        name: f"{fields[name].label if name in fields else quoted(name)} appears more than once."
        " Use it once."
        for name in query
        if len(query.getlist(name)) > 1
    }
    return {name: str(text) for name, text in query.items() if name not in others}, errors


def parse_fields(
    texts: Mapping[str, str], fields: Mapping[str, Field], *context: Any, errors: dict[str, str]
) -> dict[str, Any]:
    """Return the values by attribute, and add an error for each text that is wrong.

    Unknown names are refused, because a mistyped filter must not select everything.
    """
    values = {}
    for name, text in texts.items():
        if name not in fields:
            errors[name] = f"There is no filter {quoted(name)}. Check the link."
        elif text.strip() and name not in errors:
            try:
                values[fields[name].attribute] = fields[name].parse(text.strip(), *context)
            except ValueError as error:
                errors[name] = f"{fields[name].label}: {error}"
    return values


def parse_text(text: str) -> str:
    """Return a text to search for. Raises `ValueError`."""
    if len(text) > MAX_CHARS:
        raise ValueError(f"Enter at most {MAX_CHARS} characters.")
    if any(character == "\0" or "\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("This contains a character that cannot be searched for.")
    return text


def parse_choice(text: str, choices: Iterable[tuple[str, str]], *, noun: str) -> str:
    """Return the value of a choice that was given by its value or its label, in any case.

    Raises `ValueError`.
    """
    labels = dict(choices)
    by_words = {label.casefold(): value for value, label in labels.items()}
    for value in labels:
        by_words |= {value.casefold(): value, value.replace("_", " ").casefold(): value}
    typed = text.casefold()
    if typed in by_words:
        return by_words[typed]
    close = close_names(typed, by_words) or [words for words in by_words if typed in words][:3]
    hint = did_you_mean(labels[by_words[words]] for words in close)
    hint = hint or f" Choose one, such as “{next(iter(labels.values()))}”."
    raise ValueError(f"{quoted(text)} is not {noun}.{hint}")


def parse_page_size(text: str) -> int:
    """Return the number of rows on a page. Raises `ValueError`."""
    size = parse_id(text)
    if size is None or size not in PAGE_SIZES:
        raise ValueError(f"Choose {', '.join(map(str, PAGE_SIZES[:-1]))} or {PAGE_SIZES[-1]}.")
    return size


def did_you_mean(names: Iterable[str]) -> str:
    """Return a question that follows an error, or "" without names."""
    meant = " or ".join(dict.fromkeys(f"“{escape_controls(name)}”" for name in names))
    return f" Did you mean {meant}?" if meant else ""
