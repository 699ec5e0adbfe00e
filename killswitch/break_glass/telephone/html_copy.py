"""All telephone cards in one HTML file that needs nothing else: for downloads, and for this host.

The copy in the data directory is what officers see when the database cannot be read. It is replaced
at once when the registry or the recorded calls have changed, and at most once a minute when only
the open orders have. It is sealed: in a copy that another program has edited, the telephone numbers
could be an attacker's.
"""

import hashlib
import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.template.loader import render_to_string
from django.utils.crypto import salted_hmac
from django.utils.safestring import SafeString, mark_safe

from killswitch.audit import canonical_json
from killswitch.audit.canonical_json import utc_text
from killswitch.break_glass.telephone.cards import TelephoneCard, read_cards, recent_calls
from killswitch.cancels import manual_cancel
from killswitch.exchanges.models import WATCHED, Exchange
from killswitch.runtime.files import read_regular, replace_file

FILE = "telephone_cards.html"
FIGURES_INTERVAL_S = 60.0
STYLES = ("css/tokens.css", "css/telephone-cards.css")
_DIGESTS = re.compile(
    rb'<meta name="registry" content="(\w+)">\s*<meta name="figures" content="(\w+)">'
)
_SEAL = re.compile(rb"<!-- seal (\w+) -->\n\Z")
SEAL_SALT = "killswitch.break_glass.telephone_copy"
_MAIN = re.compile(r"<main>(.*)</main>", re.DOTALL)


class NoCopy(Exception):
    """This host has kept no copy, or it cannot be read, or is not as it was written."""


def render_copy(
    cards: Sequence[TelephoneCard], *, may_cancel: bool, digests: tuple[str, str] = ("", "")
) -> str:
    """Return the file; the commands are in it only for those who may cancel."""
    registry, figures = digests
    styles = "".join((settings.BASE_DIR / "static" / name).read_text() for name in STYLES)
    context = {
        "cards": cards,
        "is_copy": True,
        "may_cancel": may_cancel,
        "now": datetime.now(UTC),
        "environment": {"word": _environment_word()},
        "version": settings.VERSION,
        "registry": registry,
        "figures": figures,
        "styles": mark_safe(styles),  # noqa: S308 - files of ours
    }
    return render_to_string("break_glass/telephone_copy.html", context)


def keep(home: Path) -> None:
    """Replace the copy of this host if it is out of date. Raises `OSError`."""
    path = home / FILE
    new = _digests()
    try:
        match = _DIGESTS.search(read_kept(home))
        age_s = abs(time.time() - path.stat().st_mtime)
    except (NoCopy, FileNotFoundError):
        match, age_s = None, 0.0
    kept = (match[1].decode(), match[2].decode()) if match else ("", "")
    if kept == new or (kept[0] == new[0] and age_s < FIGURES_INTERVAL_S):
        return
    copy = render_copy(read_cards(), may_cancel=True, digests=new).encode()
    replace_file(path, copy + f"<!-- seal {_seal(copy, settings.SECRET_KEY)} -->\n".encode())


def read_kept(home: Path) -> bytes:
    """Return the copy of this host. Raises `NoCopy`."""
    try:
        copy = read_regular(home / FILE)
    except OSError as error:
        raise NoCopy from error
    match = _SEAL.search(copy)
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    if match is None or match[1].decode() not in {
        _seal(copy[: match.start()], key) for key in keys
    }:
        raise NoCopy
    return copy


def cards_of(copy: bytes) -> SafeString:
    """Return the cards of a copy, to be shown on a page. Raises `NoCopy`."""
    match = _MAIN.search(copy.decode(errors="replace"))
    if match is None:
        raise NoCopy
    return mark_safe(match[1])  # noqa: S308 - rendered by us, as its seal shows


def _seal(copy: bytes, key: str) -> str:
    return salted_hmac(SEAL_SALT, copy, secret=key, algorithm="sha256").hexdigest()


def _environment_word() -> str:
    name = settings.KILLSWITCH_ENVIRONMENT
    word = "REAL EMS" if name == "real" else name.upper()
    return f"{word} · SIMULATED EMS" if settings.DEMO else word


def _digests() -> tuple[str, str]:
    """Return what the registry and the figures are now, without reading the lists of orders."""
    exchanges = list(Exchange.objects.select_related("order_list").defer("order_list__orders"))
    calls = [
        utc_text(call.recorded_at)
        for calls in recent_calls().values()
        for call in calls
        if call.recorded_at
    ]
    registry = [
        [[getattr(exchange, name) for name in WATCHED] for exchange in exchanges],
        calls,
        [settings.VERSION, settings.KILLSWITCH_ENVIRONMENT, manual_cancel.command("")],
    ]
    figures = [
        [
            exchange.open_orders,
            exchange.is_never_listed,
            *(utc_text(at) if at else None for at in (exchange.seen_at, exchange.orders_read_at)),
            exchange.order_list.revision if hasattr(exchange, "order_list") else None,
        ]
        for exchange in exchanges
    ]
    return _digest(registry), _digest(figures)


def _digest(value: Any) -> str:
    return hashlib.sha256(canonical_json.encode(value).encode()).hexdigest()
