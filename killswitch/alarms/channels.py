"""The notification channels of alarms, with labels that leave out the secrets in their URLs."""

import re

from django.conf import settings

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,40})://")


def channels() -> dict[str, str]:
    """Return the configured URLs by label, e.g. `1: mailto`."""
    urls_by_label = {}
    for number, url in enumerate(settings.ALERT_URLS, 1):
        scheme = _SCHEME.match(url)
        urls_by_label[f"{number}: {scheme[1].lower() if scheme else 'not a URL'}"] = url
    return urls_by_label
