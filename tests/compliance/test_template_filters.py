"""Names, and filters of the log, as people read them."""

import pytest

from killswitch.audit.filters import EventFilter
from killswitch.compliance.templatetags.compliance import actor_name, filter_text, role_label


@pytest.mark.parametrize(
    ("actor", "name"),
    [
        ("Olga Ray (olga)", "Olga Ray (olga)"),
        ("system", "system"),
        ("os:root", "Command line (root)"),
        ("os:root (olga)", "os:root (olga)"),  # a person who calls herself so
    ],
)
def test_a_command_line_is_named_as_such(actor: str, name: str) -> None:
    assert actor_name(actor) == name


@pytest.mark.parametrize(
    ("role", "label"),
    [
        ("RISK_OFFICER", "Risk officer"),
        ("OPERATING_SYSTEM", "Operating system"),
        ("OF_TOMORROW", "OF_TOMORROW"),
    ],
)
def test_a_role_is_shown_in_words(role: str, label: str) -> None:
    assert role_label(role) == label


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"from": "2026-11-20", "to": "2026-11-27"}, "20 to 27 Nov 2026"),
        ({"from": "2026-10-20", "to": "2026-11-27"}, "20 Oct 2026 to 27 Nov 2026"),
        ({"from": "2026-11-20", "to": "2026-11-20"}, "20 Nov 2026"),
        ({"from": "2026-11-20"}, "since 20 Nov 2026"),
        ({"to": "2026-11-20"}, "until 20 Nov 2026"),
        ({"to": "2026-11-20T08:30"}, "until 20 Nov 2026 08:30:00 UTC"),
        (
            {"from": "2026-11-20T08:30:00.5", "to": "2026-11-21"},
            "20 Nov 2026 08:30:00.500000 UTC to 21 Nov 2026",
        ),
        (
            {"kind": "FINISHED", "exchange": "KRAKEN", "actor": "os:root", "status": "REJECTED"},
            "Request finished, KRAKEN, by Command line (root), Rejected",
        ),
        ({"status": "OF_TOMORROW", "text": "a“b"}, "OF_TOMORROW, containing “a“b”"),
        ({"reject_reason": "LIMIT", "unreviewed": "1"}, "LIMIT, unreviewed only"),
    ],
)
def test_a_filter_is_shown_in_words(fields: dict[str, str], text: str) -> None:
    assert filter_text(EventFilter.from_words(fields)) == text
