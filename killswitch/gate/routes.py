"""The lane of each request, by its method and the name of its URL pattern.

A new address must be added here: a test compares this with `urls.py`.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from django.conf import settings
from django.urls import Resolver404, resolve


class LaneName(StrEnum):
    """The lanes; two requests in different lanes never wait for each other."""

    CANCEL = "cancel"
    CONFIRMATION = "confirmation"  # the question before a cancel, at the same address
    BREAK_GLASS = "break glass"  # apart from CANCEL, where requests may wait for the database
    POLL = "poll"
    CONSOLE = "console"  # what an officer needs before and after a cancel
    PAGE = "page"
    EXPORT = "export"
    SIGN_IN = "sign-in"
    PROBE = "probe"
    FILE = "file"


URL_NAMES: Final[Mapping[LaneName, tuple[str, ...]]] = {
    LaneName.CANCEL: ("cancel_one", "cancel_all", "hold"),
    LaneName.BREAK_GLASS: ("break_glass", "break_glass_sent", "break_glass_press"),
    LaneName.POLL: ("poll",),
    LaneName.CONSOLE: (
        *("console", "exchange", "batch", "request", "reason", "release", "display"),
        "account_logout",
        *("alarms:list", "alarms:acknowledge", "alarms:acknowledge_selected"),
        *("telephone_cards", "telephone_card", "telephoned"),
    ),
    LaneName.PAGE: (
        *("requests", "evidence", "orders_csv", "telephone_copy", "help", "first_day"),
        *("audit", "audit_event", "audit_outcomes", "audit_review", "audit_queries"),
        *("audit_sign_offs", "audit_sign_off"),
        *("administration", "administration_exchanges", "add_exchange", "change_exchange"),
        *("disable_exchange", "enable_exchange", "administration_groups", "add_group"),
        *("change_group", "remove_group", "administration_people", "add_person"),
        *("change_person", "change_role", "set_password", "reset_second_factor"),
        *("disable_person", "enable_person", "administration_runbook"),
    ),
    LaneName.EXPORT: ("export_csv", "export_readable_csv", "export_jsonl", "requests_csv"),
    LaneName.SIGN_IN: (
        *("account_login", "account_change_password", "account_reauthenticate"),
        *("mfa_index", "mfa_authenticate", "mfa_activate_totp"),
        *("mfa_deactivate_totp", "mfa_view_recovery_codes", "mfa_download_recovery_codes"),
        *("mfa_generate_recovery_codes",),
    ),
    LaneName.PROBE: ("healthz", "readyz", "metrics"),
}
LANE_OF_URL_NAME: Final = {name: lane for lane, names in URL_NAMES.items() for name in names}


def lane_of(method: str, path: str) -> LaneName:
    """Return the lane of a request to a decoded path; an unknown address is a page."""
    if path.startswith(settings.STATIC_URL):
        return LaneName.FILE
    try:
        lane = LANE_OF_URL_NAME.get(resolve(path).view_name, LaneName.PAGE)
    except Resolver404:
        return LaneName.PAGE
    # Reading the question again and again must not make a cancel wait.
    return LaneName.CONFIRMATION if lane is LaneName.CANCEL and method != "POST" else lane
