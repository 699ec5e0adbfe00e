"""How one browser shows the pages: theme, local time, shortcuts, the hint for new officers.

One cookie keeps it, so that the first paint is right without inline scripts, and signing out, which
clears the browser's storage, keeps it.
"""

from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from enum import StrEnum
from typing import Self, TypeVar
from urllib.parse import parse_qsl, urlencode

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from killswitch.accounts.decorators import requires
from killswitch.accounts.permissions import Permission
from killswitch.runtime.http import is_htmx, see_other

KEPT_FOR = timedelta(days=365)
MAX_COOKIE_CHARS = 200
Choice = TypeVar("Choice", bound=StrEnum)


class Theme(StrEnum):
    """The colours of the pages."""

    SYSTEM = "system"
    LIGHT = "light"
    DARK = "dark"


class Switch(StrEnum):
    """A choice between two values, as forms and the cookie spell it."""

    ON = "on"
    OFF = "off"


@dataclass(frozen=True, kw_only=True)
class Display:
    """The choices of one browser. A value that is missing or unknown is the default."""

    theme: Theme = Theme.SYSTEM
    local_time: Switch = Switch.OFF
    shortcuts: Switch = Switch.ON
    hint: Switch = Switch.ON

    @classmethod
    def of(cls, request: HttpRequest) -> Self:
        """Read the cookie of a request."""
        text = request.COOKIES.get(settings.DISPLAY_COOKIE_NAME, "")[:MAX_COOKIE_CHARS]
        return cls().changed(dict(parse_qsl(text)))

    def changed(self, values: dict[str, str]) -> Self:
        """Return the choices with those of these values that are valid."""
        return replace(
            self,
            theme=_value_of(Theme, values.get("theme"), default=self.theme),
            local_time=_value_of(Switch, values.get("local_time"), default=self.local_time),
            shortcuts=_value_of(Switch, values.get("shortcuts"), default=self.shortcuts),
            hint=_value_of(Switch, values.get("hint"), default=self.hint),
        )

    themes = (
        (Theme.SYSTEM, "As the system"),
        (Theme.LIGHT, "Light"),
        (Theme.DARK, "Dark"),
    )

    @property
    def color_scheme(self) -> str:
        """Return the colour schemes of the page, as CSS names them."""
        return "light dark" if self.theme is Theme.SYSTEM else self.theme

    def remember(self, response: HttpResponseBase) -> None:
        """Set the cookie."""
        response.set_cookie(
            settings.DISPLAY_COOKIE_NAME,
            urlencode(asdict(self)),
            max_age=KEPT_FOR,
            secure=settings.SESSION_COOKIE_SECURE,
            httponly=True,
            samesite="Lax",
        )


@requires(Permission.SIGNED_IN)
@never_cache
@require_POST
def change(request: HttpRequest) -> HttpResponse:
    """Remember what the form says, and lead back to its page."""
    display = Display.of(request).changed(request.POST.dict())
    page = request.POST.get("next", "")
    is_ours = url_has_allowed_host_and_scheme(page, allowed_hosts=None)
    response = HttpResponse(status=204) if is_htmx(request) else see_other(page if is_ours else "/")
    display.remember(response)
    return response


def _value_of(kind: type[Choice], text: str | None, *, default: Choice) -> Choice:
    try:
        return kind(text or "")
    except ValueError:
        return default
