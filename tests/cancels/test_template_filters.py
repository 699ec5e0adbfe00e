"""How a request was confirmed, in words."""

import pytest

from killswitch.cancels.templatetags.cancels import gesture_text


@pytest.mark.parametrize(
    ("gesture", "text"),
    [
        ("held 1003 ms, mouse", "kept pressed for 1 s (mouse)"),
        ("held 1240 ms, touch", "kept pressed for 1.2 s (touch)"),
        ("second button", "confirmed with the “Yes” button"),
        ("command", "cancel_all command"),
        ("of an earlier version", "of an earlier version"),
        ("held \x1b[2K ms, mouse", "held ␛[2K ms, mouse"),
    ],
)
def test_a_gesture_is_shown_in_words(gesture: str, text: str) -> None:
    assert gesture_text(gesture) == text
