"""Conditions in forms that are fast in long tables."""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any, Final

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import BooleanField, Case, CharField, Lookup, Q, TextField, When
from django.db.models.lookups import IContains, Regex
from django.db.models.sql.compiler import SQLCompiler

LETTERS_END: Final = 0x20000  # no letter from here on has two cases
SPECIAL: Final = "*?["  # in a pattern of GLOB


class InAnyCase(Lookup):
    """A text is part of the column, in any case of its letters.

    SQLite's LIKE knows the cases of ASCII letters only, and what PostgreSQL knows depends on its
    locale. So other texts are searched by patterns that name the cases of each letter.
    """

    lookup_name = "contains_in_any_case"

    def as_sql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper) -> Any:
        if self.rhs.isascii():
            return compiler.compile(IContains(self.lhs, self.rhs))
        if connection.vendor != "sqlite":
            return compiler.compile(Regex(self.lhs, regex_pattern(self.rhs)))
        sql, params = self.process_lhs(compiler, connection)
        return f"{sql} GLOB %s", [*params, glob_pattern(self.rhs)]


class IContainsInMany(Lookup):
    """What `icontains` finds, in half of the time: for many rows that are compared one by one.

    PostgreSQL needs most of that time to look up the cases of each character. In a text without any
    character but those of ASCII, it does not have to.
    """

    lookup_name = "icontains_in_many"

    def as_sql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper) -> Any:
        any_text, params = compiler.compile(IContains(self.lhs, self.rhs))
        if connection.vendor != "postgresql" or not self.rhs.isascii():
            return any_text, params
        column, column_params = self.process_lhs(compiler, connection)
        is_ascii = f"octet_length({column}) = length({column})"
        in_ascii = f'strpos(upper({column} COLLATE "C"), %s) > 0'
        sql = f"CASE WHEN {is_ascii} THEN {in_ascii} ELSE {any_text} END"
        return sql, [*column_params * 3, self.rhs.upper(), *params]


def glob_pattern(text: str) -> str:
    """Return the pattern with which GLOB finds the text in any case."""
    parts = (
        f"[{cases}]" if len(cases) > 1 or cases in SPECIAL else cases for cases in _letters(text)
    )
    return f"*{''.join(parts)}*"


def regex_pattern(text: str) -> str:
    """Return the regular expression that finds the text in any case."""
    return "".join(f"[{cases}]" if len(cases) > 1 else re.escape(cases) for cases in _letters(text))


def _letters(text: str) -> Iterator[str]:
    """Yield each character of the text, together with its other cases."""
    return (_cases().get(character.casefold(), character) for character in text)


@cache
def _cases() -> dict[str, str]:
    """Return all characters of each letter that has several, by the letter's folded form."""
    cases: dict[str, str] = {}
    for character in map(chr, range(LETTERS_END)):
        folded = character.casefold()
        cases[folded] = cases.get(folded, "") + character
    return {folded: alike for folded, alike in cases.items() if len(alike) > 1}


def compared(condition: Q) -> Q:
    """Return the same condition in a form for which no database uses an index."""
    return Q(Case(When(condition, then=True), default=False, output_field=BooleanField()))


for field in (CharField, TextField):
    field.register_lookup(InAnyCase)
    field.register_lookup(IContainsInMany)
