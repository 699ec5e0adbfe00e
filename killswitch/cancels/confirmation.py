"""What a confirmation shows and what a press brings back. No bad reason refuses a kill."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from django.http import Http404, HttpRequest, QueryDict
from django.urls import reverse
from django.utils.http import urlencode

from killswitch.cancels import press_keys
from killswitch.cancels.models import CancelRequest
from killswitch.exchanges.models import Exchange, UncoveredExchange

REASONS = ("Runaway algorithm", "Venue incident", "Limit breach", "Drill", "Other")
MAX_CARRIED_CHARS = 500  # characters of a reason that travel from page to page
NAMES = {"exchange", "reason"}  # that the address of a press may carry
MAX_EXCHANGES = 500  # exchanges that one address may name
MAX_PK = 2**63 - 1  # what a database takes for a number


@dataclass(frozen=True, kw_only=True)
class Reason:
    """Why somebody presses: one of a short list, words of their own, or both."""

    picked: str = ""
    words: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Take a reason apart again, so that a confirmation comes back filled."""
        picked, _, words = text.partition(": ")
        if picked in REASONS:
            return cls(picked=picked, words=words)
        return cls(words=text)

    @classmethod
    def from_form(cls, data: QueryDict) -> Self:
        """What a form, an address or a script says. A form says `reason` twice: list and words."""
        picked, *more = [text.strip() for text in data.getlist("reason") if text.strip()] or [""]
        first = cls.parse(picked)
        return cls(picked=first.picked, words=" ".join(filter(None, (first.words, *more))))

    def __str__(self) -> str:
        return ": ".join(filter(None, (self.picked, self.words)))

    def carried(self) -> Self:
        """Short enough for a page or an address."""
        return type(self)(picked=self.picked, words=self.words[:MAX_CARRIED_CHARS])


@dataclass(frozen=True, kw_only=True)
class Target:
    """What a press is aimed at. Disabled exchanges stay named in it, and are not cancelled."""

    exchanges: Sequence[Exchange]
    everywhere: bool = False

    @classmethod
    def one(cls, pk: int) -> Self:
        return cls(exchanges=_found([pk]))

    @classmethod
    def from_query(cls, request: HttpRequest) -> Self:
        """The exchanges of the address; everywhere, when it names none."""
        if unknown := sorted(request.GET.keys() - NAMES):
            # A mistyped name must not turn "some" into "everywhere".
            raise Http404(f"{unknown[0]!r:.50} is not known in this address; nothing was sent.")
        named = request.GET.getlist("exchange")
        if len(named) > MAX_EXCHANGES:
            # Never only the first of them: a press must reach what it says, or say that it cannot.
            raise Http404(
                f"At most {MAX_EXCHANGES} exchanges can be named at once; nothing was sent."
            )
        if not named:
            return cls(exchanges=tuple(Exchange.objects.enabled()), everywhere=True)
        if not all(text.isascii() and text.isdigit() and len(text) < 10 for text in named):
            raise Http404("There is no exchange with that number here.")
        return cls(exchanges=_found([int(text) for text in named]))

    @property
    def covered(self) -> list[Exchange]:
        return [exchange for exchange in self.exchanges if exchange.enabled]

    @property
    def disabled(self) -> list[Exchange]:
        return [exchange for exchange in self.exchanges if not exchange.enabled]

    @property
    def only(self) -> Exchange | None:
        """The exchange, when it is a single one that was asked for by name."""
        return self.exchanges[0] if len(self.exchanges) == 1 and not self.everywhere else None

    @property
    def path(self) -> str:
        """Where its confirmation lives."""
        if self.everywhere:
            return reverse("cancel_all")
        if self.only:
            return reverse("cancel_one", args=[self.only.pk])
        pks = [exchange.pk for exchange in self.exchanges]
        return f"{reverse('cancel_all')}?{urlencode({'exchange': pks}, doseq=True)}"

    @property
    def signed_text(self) -> str:
        """The target as its one-use keys contain it."""
        if self.everywhere:
            return "everywhere"
        return ",".join(str(pk) for pk in sorted(exchange.pk for exchange in self.exchanges))

    def key(self, *, user_id: int) -> str:
        """Return a fresh one-use key for this person and target."""
        return press_keys.make(user_id=user_id, target=self.signed_text)


@dataclass(frozen=True, kw_only=True)
class Confirmation:
    """One short question: which exchanges, how many orders, how old that figure is."""

    target: Target
    key: str
    reason: Reason
    in_flight: int = 0  # exchanges with a request in flight
    uncovered: Sequence[UncoveredExchange] = ()

    reasons = REASONS

    @property
    def open_orders(self) -> int | None:
        """Known open orders, or None when the EMS was never heard of any of them."""
        counts = [each.open_orders for each in self.target.covered if each.open_orders is not None]
        return sum(counts) if counts else None

    @property
    def is_partial(self) -> bool:
        """Whether the figure leaves an exchange out, whose orders nobody has counted yet."""
        return any(each.open_orders is None for each in self.target.covered)

    @property
    def seen_at(self) -> datetime | None:
        """The age of the oldest figure in the sum."""
        times = [each.seen_at for each in self.target.covered if each.seen_at]
        return min(times) if times else None

    @property
    def caveats(self) -> list[Exchange]:
        return [exchange for exchange in self.target.covered if exchange.caveat]


def confirm(*, target: Target, user_id: int, reason: Reason) -> Confirmation:
    """A confirmation with a fresh key."""
    uncovered = tuple(UncoveredExchange.objects.all()) if target.everywhere else ()
    in_flight = CancelRequest.objects.in_flight().filter(configured_exchange__in=target.covered)
    return Confirmation(
        target=target,
        key=target.key(user_id=user_id),
        reason=reason.carried(),
        in_flight=in_flight.values("configured_exchange").distinct().count(),
        uncovered=uncovered,
    )


def _found(pks: list[int]) -> tuple[Exchange, ...]:
    found = tuple(Exchange.objects.filter(pk__in=pks)) if max(pks) <= MAX_PK else ()
    if len(found) != len(set(pks)):
        raise Http404("There is no exchange with that number here.")
    return found
