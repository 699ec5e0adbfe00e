"""The places that are told of alarms, named so that their secrets are not."""

import re

from django.conf import settings

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,40})://")


def channels() -> dict[str, str]:
    """The configured URLs by label, e.g. `1: mailto`: the rest of such a URL holds secrets."""
    return {f"{number}: {_scheme(url)}": url for number, url in enumerate(settings.ALERT_URLS, 1)}


def _scheme(url: str) -> str:
    found = _SCHEME.match(url)
    return found[1].lower() if found else "not a URL"
