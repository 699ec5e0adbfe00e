"""The check that templates refer downwards finds what it is for, and knows the packages."""

from pathlib import Path

import pytest

from tools import check_templates

PACKAGES = ["console", "cancels", "accounts", "runtime"]
LIBRARIES = {"console": "console", "cancels": "cancels", "text": "runtime"}


def problems(tmp_path: Path, name: str, text: str) -> list[str]:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return list(
        check_templates.problems(templates=tmp_path, packages=PACKAGES, libraries=LIBRARIES)
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("cancels/page.html", "{% load cancels static text %}"),
        ("cancels/page.html", "{% load i18n %}{% load duration from text %}"),
        ("console/page.html", "{% load text cancels %}"),
        ("cancels/page.html", '{% extends "base.html" %}{% include "_icon.html" %}'),
        ("console/page.html", '{% include "cancels/_reason.html" with plain=True %}'),
        ("base.html", '{% load text %}{% include "console/_header.html" %}'),
        ("account/login.html", '{% extends "base_plain.html" %}'),
    ],
)
def test_what_is_allowed_passes(tmp_path: Path, name: str, text: str) -> None:
    assert problems(tmp_path, name, text) == []


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("cancels/page.html", "{% load console %}", "loads console, which belongs to console"),
        (
            "account/login.html",
            "{% load text cancels %}",
            "loads cancels, which belongs to cancels",
        ),
        ("cancels/page.html", "{% load x from console %}", "loads console"),
        ("base.html", "{% load cancels %}", "loads cancels"),
        ("cancels/page.html", '{%include "console/_row.html" %}', "refers to console/_row.html"),
        ("account/login.html", "{% extends 'cancels/base.html' %}", "refers to cancels/base.html"),
        ("mfa/code.html", "{% load cancels %}", "loads cancels"),
        ("elsewhere/page.html", "", "elsewhere is not a package"),
    ],
)
def test_what_is_not_allowed_is_named(tmp_path: Path, name: str, text: str, problem: str) -> None:
    (line,) = problems(tmp_path, name, text)
    assert line.startswith(f"{name}: ")
    assert problem in line


def test_the_packages_and_the_libraries_are_those_of_the_project() -> None:
    packages = check_templates.package_order(check_templates.ROOT / ".importlinter")
    assert packages.index("console") < packages.index("cancels") < packages.index("runtime")
    libraries = check_templates.tag_libraries(check_templates.ROOT / "killswitch")
    assert libraries["cancels"] == "cancels"
    assert libraries["text"] == "runtime"
