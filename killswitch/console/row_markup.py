"""The markup of the console's rows, rendered once for all rows and pages that are alike.

A row under a Hold shows times that pass, and is rendered each time.
"""

from typing import NamedTuple, Self
from uuid import UUID

from django.template.loader import get_template
from django.utils.safestring import SafeString

from killswitch.accounts.models import User
from killswitch.accounts.permissions import Permission, has_permission
from killswitch.cancels.outcome_line import OWN as OWN_OF_OUTCOME
from killswitch.cancels.outcome_line import OutcomeLine, outcome_line
from killswitch.console.grid import Row
from killswitch.runtime.cached_markup import rendered
from killswitch.runtime.http import MAX_ID, addresses
from killswitch.runtime.templatetags.text import escape_controls, iso, thousands, time_short

TEMPLATE = "console/_row.html"
SAMPLE_UUID = UUID(int=0)
# What rows that look alike do not have in common.
OWN = (
    *("pk", "exchange_id", "label", "caveat", "known_orders", "orders", "seen_at", "seen_at_iso"),
    *("address", "cancel_address", "hold_address", "release_address"),
    *(f"outcome.{name}" for name in OWN_OF_OUTCOME),
)


class RowText(NamedTuple):
    """The values of `console/_row.html`, but for those of a Hold."""

    pk: str
    into: bool
    exchange_id: str
    tone: str  # the class of the row
    may_cancel: bool
    may_hold: bool
    is_enabled: bool
    known_orders: str
    label: str
    has_name: bool
    caveat: str
    is_known: bool
    orders: str
    seen_at: str
    seen_at_iso: str  # "" for the newest observation, whose age the page knows
    outcome: OutcomeLine | None
    address: str
    cancel_address: str
    hold_address: str
    release_address: str


class Viewer(NamedTuple):
    """What a user may do with the rows."""

    may_cancel: bool
    may_hold: bool

    @classmethod
    def of(cls, user: User) -> Self:
        return cls(
            may_cancel=has_permission(user, Permission.CANCEL),
            may_hold=has_permission(user, Permission.HOLD),
        )


class RowMarkup:
    """Renders rows as users with these permissions see them."""

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self._of_request = addresses("request", sample=SAMPLE_UUID)
        self._of_exchange, self._of_cancel, self._of_hold, self._of_release = (
            addresses(name, sample=MAX_ID) for name in ("exchange", "cancel_one", "hold", "release")
        )

    def of(self, row: Row, *, into: bool = False) -> SafeString:
        """Return the markup of a row; `into` lets a page insert one that it does not have."""
        text = self._text(row, into=into)
        if not row.hold:
            return rendered(TEMPLATE, text, own=OWN)
        live = {"hold_view": row.hold, "exchange": row.exchange}
        return SafeString(get_template(TEMPLATE).render(text._asdict() | live))

    def _text(self, row: Row, *, into: bool) -> RowText:
        exchange, last, pk = row.exchange, row.last, row.exchange.pk
        known_orders = row.known_orders
        has_new_orders = row.has_new_orders
        tone = "busy" if row.in_flight else ""
        if row.is_failed or has_new_orders:
            tone = f"attn {row.tone}"
        return RowText(
            pk=str(pk),
            into=into,
            exchange_id=exchange.exchange_id,
            tone=tone,
            may_cancel=self._viewer.may_cancel,
            may_hold=self._viewer.may_hold,
            is_enabled=exchange.enabled,
            known_orders="" if known_orders is None else str(known_orders),
            label=escape_controls(exchange.label),
            has_name=bool(exchange.name),
            caveat=escape_controls(exchange.caveat),
            is_known=exchange.open_orders is not None,
            orders="" if known_orders is None else thousands(known_orders),
            seen_at=time_short(exchange.seen_at),
            seen_at_iso="" if row.is_newest else iso(exchange.seen_at),
            outcome=outcome_line(
                last,
                address=self._of_request(last.uuid),
                has_new_orders=has_new_orders,
                is_stuck=row.is_stuck,
            )
            if last
            else None,
            address=self._of_exchange(pk),
            cancel_address=self._of_cancel(pk),
            hold_address=self._of_hold(pk),
            release_address=self._of_release(pk),
        )
