"""The guard in front of every page of administrators."""

from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from killswitch.accounts.decorators import P, View, recent_password, requires
from killswitch.accounts.permissions import Permission


def administration(view: View[P]) -> View[P]:
    """Open a page to administrators; no cache keeps it."""
    page = require_http_methods(["GET", "HEAD", "POST"])(view)
    return requires(Permission.ADMINISTER)(never_cache(page))


def administration_with_password(view: View[P]) -> View[P]:
    """Open a page that changes access to administrators who gave their password a moment ago."""
    return administration(recent_password(view))
