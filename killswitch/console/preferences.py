"""How a browser shows the rows of the console: their order and height, kept in cookies."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from killswitch.console.grid import Row

COOKIE_AGE = timedelta(days=365)
MAX_COMFORTABLE_ROWS = 20  # more are compact unless the person has chosen


def _by_orders(row: Row) -> tuple[bool, int]:
    # An exchange without a figure may have any number of orders, so it comes first.
    return row.known_orders is not None, -(row.known_orders or 0)


SORT_KEYS: dict[str, Callable[[Row], Any]] = {
    "trouble": lambda row: row.trouble,
    "orders": _by_orders,
    "name": lambda row: (row.exchange.label.casefold(), row.exchange.exchange_id.casefold()),
}
SORT_LABELS = {"trouble": "Trouble first", "orders": "Open orders", "name": "Name"}
DENSITY_LABELS = {"comfortable": "Comfortable", "compact": "Compact"}
# The parameter of the address, its cookie, and its values.
CHOICES = {
    "sort": ("killswitch_sort", SORT_LABELS),
    "rows": ("killswitch_rows", DENSITY_LABELS),
}


@dataclass(frozen=True, kw_only=True)
class Preferences:
    """The order of the rows and their height, as the address or a cookie says."""

    sort: str
    density: str

    sorts = SORT_LABELS
    densities = DENSITY_LABELS

    @classmethod
    def of(cls, request: HttpRequest, *, row_count: int) -> Self:
        """Read them; anything that is not known counts as not chosen."""
        default = "compact" if row_count > MAX_COMFORTABLE_ROWS else "comfortable"
        return cls(
            sort=_chosen(request, "sort") or "trouble", density=_chosen(request, "rows") or default
        )

    def sorted(self, rows: Sequence[Row]) -> list[Row]:
        """Return the rows in the chosen order; those alike stay as configured."""
        return sorted(rows, key=SORT_KEYS[self.sort])


def remember(request: HttpRequest, response: HttpResponse) -> None:
    """Keep what the address chooses for the next visits."""
    for name, (cookie, values) in CHOICES.items():
        if (value := request.GET.get(name, "")) in values:
            response.set_cookie(
                cookie,
                value,
                max_age=COOKIE_AGE,
                secure=settings.SESSION_COOKIE_SECURE,
                httponly=True,
                samesite="Lax",
            )


def _chosen(request: HttpRequest, name: str) -> str:
    cookie, values = CHOICES[name]
    asked = (request.GET.get(name, ""), request.COOKIES.get(cookie, ""))
    return next((value for value in asked if value in values), "")
