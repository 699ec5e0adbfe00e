"""What allauth.mfa asks of us: its secrets sealed at rest, and the QR code as part of the page."""

import base64
from typing import Any

import qrcode
from allauth.mfa.adapter import DefaultMFAAdapter
from cryptography.fernet import Fernet, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.utils.encoding import force_bytes
from django.utils.html import format_html
from django.utils.safestring import SafeString
from qrcode.image.svg import SvgPathImage

PURPOSE = b"killswitch.accounts.second_factor"


class EncryptingMFAAdapter(DefaultMFAAdapter):  # type: ignore[misc]
    """A copy of the database alone gives nobody a second factor: the key is not in it."""

    def encrypt(self, text: str) -> str:
        return _keys().encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        """Raises `cryptography.fernet.InvalidToken` when it was sealed with another SECRET_KEY."""
        return _keys().decrypt(encrypted_text.encode()).decode()

    def build_totp_svg(self, url: str) -> SafeString:
        """For the page itself: the policy for content allows no `data:` images."""
        image: Any = qrcode.make(url, image_factory=SvgPathImage, border=2)
        path = image.path.get("d")
        # The background is drawn too: cameras read dark on light, whatever the page's scheme.
        return format_html(
            '<svg class="qr" viewBox="0 0 {0} {0}" role="img" aria-label="QR code with the secret">'
            '<path fill="#fff" d="M0 0h{0}v{0}H0z"/><path fill="#000" d="{1}"/></svg>',
            image.width + 2 * image.border,
            path,
        )


def _keys() -> MultiFernet:
    secrets = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    return MultiFernet([Fernet(_derived(secret)) for secret in secrets])


def _derived(secret: str | bytes) -> bytes:
    kdf = HKDF(algorithm=SHA256(), length=32, salt=None, info=PURPOSE)
    return base64.urlsafe_b64encode(kdf.derive(force_bytes(secret)))
