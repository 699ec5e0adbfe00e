"""Names and roles as people read them."""

import pytest

from killswitch.accounts.models import role_label
from killswitch.accounts.templatetags.accounts import person_name
from killswitch.audit.actors import actor_name


@pytest.mark.parametrize(
    ("actor", "name", "short_name"),
    [
        ("Olga Ray (olga)", "Olga Ray (olga)", "Olga Ray"),
        ("olga", "olga", "olga"),
        ("system", "System", "System"),
        ("anonymous", "Not signed in", "Not signed in"),
        ("os:root", "Command line (root)", "Command line (root)"),
        ("os:root (olga)", "os:root (olga)", "os:root (olga)"),  # a person who calls herself so
        ("System (olga)", "System (olga)", "System"),
    ],
)
def test_an_actor_is_named_in_words(actor: str, name: str, short_name: str) -> None:
    assert (actor_name(actor), person_name(actor)) == (name, short_name)


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
