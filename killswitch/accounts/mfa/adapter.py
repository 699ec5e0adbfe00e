"""allauth's extension points for the second factor: its secrets, its QR code, its sign-in stage."""

import base64
from typing import Any

import qrcode
from allauth.account.stages import LoginStage
from allauth.core.internal.httpkit import headed_redirect_response
from allauth.mfa.adapter import DefaultMFAAdapter
from cryptography.fernet import Fernet, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.http import HttpResponse
from django.utils.crypto import constant_time_compare
from django.utils.encoding import force_bytes
from django.utils.html import format_html
from django.utils.safestring import SafeString
from qrcode.image.svg import SvgPathImage

from killswitch.accounts.mfa import services

PURPOSE = b"killswitch.accounts.second_factor"


class EncryptingMFAAdapter(DefaultMFAAdapter):  # type: ignore[misc]
    """Encrypts the secrets: a copy of the database alone does not reveal a second factor."""

    def encrypt(self, text: str) -> str:
        return _fernet().encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        """Raises `cryptography.fernet.InvalidToken` if it was encrypted with another SECRET_KEY."""
        return _fernet().decrypt(encrypted_text.encode()).decode()

    def build_totp_svg(self, url: str) -> SafeString:
        """Return an inline SVG: the content security policy allows no `data:` images."""
        image: Any = qrcode.make(url, image_factory=SvgPathImage, border=2)
        path = image.path.get("d")
        # The background is drawn too: cameras need dark on light, also on a dark page.
        return format_html(
            '<svg class="qr" viewBox="0 0 {0} {0}" role="img" aria-label="QR code with the secret">'
            '<path fill="#fff" d="M0 0h{0}v{0}H0z"/><path fill="#000" d="{1}"/></svg>',
            image.width + 2 * image.border,
            path,
        )


class TotpStage(LoginStage):  # type: ignore[misc]
    """Asks for a code after the right password; without it the user stays anonymous."""

    key = "second_factor"
    urlname = "mfa_authenticate"

    def handle(self) -> tuple[HttpResponse | None, bool]:
        if not services.is_enabled(self.login.user):
            return None, True
        self.state["standing"] = self.login.user.get_session_auth_hash()
        return headed_redirect_response(self.urlname), True

    def is_current(self) -> bool:
        """Return whether password, role and access are unchanged since the password was given."""
        user, auth_hash = self.login.user, self.state.get("standing", "")
        return user is not None and constant_time_compare(auth_hash, user.get_session_auth_hash())


def _fernet() -> MultiFernet:
    keys = [
        HKDF(algorithm=SHA256(), length=32, salt=None, info=PURPOSE).derive(force_bytes(secret))
        for secret in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    ]
    return MultiFernet([Fernet(base64.urlsafe_b64encode(key)) for key in keys])
