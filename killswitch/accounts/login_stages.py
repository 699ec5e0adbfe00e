"""What stands between the right password and being signed in: the code, for who has one."""

from allauth.account.stages import LoginStage
from allauth.core.internal.httpkit import headed_redirect_response
from django.http import HttpResponse
from django.utils.crypto import constant_time_compare

from killswitch.accounts.mfa import services


class TotpStage(LoginStage):  # type: ignore[misc]
    """Ask for a code. Until it is given nobody is signed in, and nothing opens."""

    key = "second_factor"
    urlname = "mfa_authenticate"

    def handle(self) -> tuple[HttpResponse | None, bool]:
        if not services.has_one(self.login.user):
            return None, True
        self.state["standing"] = self.login.user.get_session_auth_hash()
        return headed_redirect_response(self.urlname), True

    def still_stands(self) -> bool:
        """Whether the person's password, role and access are what they were a moment ago."""
        user, standing = self.login.user, self.state.get("standing", "")
        return user is not None and constant_time_compare(standing, user.get_session_auth_hash())
