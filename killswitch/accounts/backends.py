"""Who may sign in: active people with the right password; demo people in the demo only.

Django's own backend and not allauth's: the latter lets an inactive person through to a page that
says so, and anything that passes there would have to be stopped once more.
"""

from typing import Any

from django.conf import settings
from django.contrib.auth.backends import ModelBackend
from django.http import HttpRequest

from killswitch.accounts import password_queue


class UserBackend(ModelBackend):
    """Asked at sign-in and again on every request, so that switching off takes effect at once."""

    def authenticate(
        self,
        request: HttpRequest | None,
        username: str | None = None,
        password: str | None = None,
        **others: Any,
    ) -> Any:
        """The person whose name and password these are, or None. Raises `hashing.Busy`."""
        with password_queue.exclusive_hashing():
            return super().authenticate(request, username=username, password=password, **others)

    def user_can_authenticate(self, user: Any) -> bool:
        return super().user_can_authenticate(user) and (settings.DEMO or not user.is_demo)
