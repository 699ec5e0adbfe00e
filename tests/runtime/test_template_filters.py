"""The template filters of the runtime package, as templates use them."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from django.template import Context, Engine
from django.utils import timezone as django_timezone
from django.utils.safestring import mark_safe

ENGINE = Engine(libraries={"text": "killswitch.runtime.templatetags.text"})
NOW = datetime(2026, 11, 22, 8, 30, 5, tzinfo=UTC)
EAST = timezone(timedelta(hours=9))
AT = datetime(2026, 3, 7, 4, 5, 6, 123_456, tzinfo=EAST)


def render(value: Any, filters: str) -> str:
    template = ENGINE.from_string(f"{{% load text %}}{{{{ value|{filters} }}}}")
    return template.render(Context({"value": value}))


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(django_timezone, "now", lambda: NOW)


@pytest.mark.parametrize(
    ("filters", "value", "text"),
    [
        ("time_short", NOW, "08:30:05"),
        ("time_short", NOW.astimezone(EAST), "08:30:05"),
        ("time_short", AT, "6 Mar 19:05:06"),
        ("time_short", AT.replace(year=2025), "6 Mar 2025 19:05:06"),
        ("time_short", None, ""),
        ("time_ms", AT, "2026-03-06 19:05:06.123"),
        ("time_ms", None, ""),
        ("time_us", AT, "2026-03-06 19:05:06.123456"),
        ("iso", AT, "2026-03-06T19:05:06.123Z"),
        ("iso", None, ""),
        ("epoch_ms", AT, "1772823906123"),
        ("epoch_ms", None, "0"),
        ("duration", 11_800, "11.8 s"),
        ("duration", 0, "0 ms"),
        ("duration", None, ""),
        ("duration", -3_578_233, ""),
        ("thousands", 2040, "2,040"),
        ('pluralize_count:"order"', 1, "1 order"),
        ('pluralize_count:"order"', 2040, "2,040 orders"),
        ("humanize", "NOT_READY", "NOT READY"),
        ('split|join:"-"', "REVIEWED QUERIED  CLOSED", "REVIEWED-QUERIED-CLOSED"),
        ("escape_controls", "a\n\tb\x1b[2J\u202e", "a\n\tb␛[2J\\u202e"),
    ],
)
def test_each_filter_writes_its_value(filters: str, value: Any, text: str) -> None:
    assert render(value, filters) == text


def test_foreign_markup_is_escaped_also_when_it_claims_to_be_safe() -> None:
    assert render(mark_safe("<b>"), "escape_controls") == "&lt;b&gt;"
