"""Names and roles as people read them."""

import pytest

from killswitch.compliance.templatetags.compliance import actor_name, role_label


@pytest.mark.parametrize(
    ("actor", "name"),
    [
        ("Olga Ray (olga)", "Olga Ray (olga)"),
        ("system", "System"),
        ("anonymous", "Not signed in"),
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
