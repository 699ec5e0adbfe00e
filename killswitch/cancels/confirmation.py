"""What a confirmation shows and what its form sends back. No reason ever refuses a kill."""

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
from killswitch.runtime.http import MAX_ID, parse_id

OTHER = "Other"
REASONS = ("Runaway algorithm", "Venue incident", "Limit breach", "Drill", OTHER)
MAX_CARRIED_CHARS = 500
QUERY_NAMES = {"exchange", "reason", "hold"}
HOLD = "hold"  # the value of the field `hold` that asks for more than "once"
MAX_EXCHANGES = 500


@dataclass(frozen=True, kw_only=True)
class Reason:
    """Why a cancel is requested: one of a short list, free text, or both."""

    picked: str = ""
    words: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Split a reason again, so that a confirmation can be shown filled."""
        choice, _, words = text.partition(": ")
        if choice in REASONS:
            return cls(picked=choice, words=words)
        return cls(words=text)

    @classmethod
    def from_form(cls, data: QueryDict) -> Self:
        """Read the reason of a form or an address. A form has two fields: the list and the text."""
        first, *more = [text.strip() for text in data.getlist("reason") if text.strip()] or [""]
        reason = cls.parse(first)
        return cls(picked=reason.picked, words=" ".join(filter(None, (reason.words, *more))))

    def __str__(self) -> str:
        return ": ".join(filter(None, (self.picked, self.words)))

    @property
    def is_bare_other(self) -> bool:
        """Return True for "Other" without a letter or a digit of details."""
        letters = "".join(filter(str.isalnum, str(self)))
        return letters.casefold() == OTHER.casefold()

    def carried(self) -> Self:
        """Return the reason, short enough for a page or an address."""
        return type(self)(picked=self.picked, words=self.words[:MAX_CARRIED_CHARS])


def wants_hold(data: QueryDict) -> bool:
    """Return True if a form or an address asks for "Cancel and hold", once and in so many letters.

    Anything else is "Cancel once": a field that cannot be understood never refuses a kill.
    """
    return data.getlist("hold") == [HOLD]


@dataclass(frozen=True, kw_only=True)
class Target:
    """The exchanges to cancel on. Disabled ones stay in the target and are not cancelled."""

    exchanges: Sequence[Exchange]
    everywhere: bool = False

    @classmethod
    def one(cls, pk: int) -> Self:
        """Return the target of a single exchange. Raises `Http404`."""
        return cls(exchanges=_exchanges([pk]))

    @classmethod
    def from_query(cls, request: HttpRequest) -> Self:
        """Return the exchanges that the address names, or all enabled ones. Raises `Http404`."""
        if unknown := sorted(request.GET.keys() - QUERY_NAMES):
            # A mistyped name must not turn "some" into "everywhere".
            raise Http404(
                f"This address contains an unknown part, {unknown[0]!r:.50}. No cancel was sent."
                " Go to the console and start again."
            )
        numbers = request.GET.getlist("exchange")
        if len(numbers) > MAX_EXCHANGES:
            # Cancelling on the first of them only would be less than the address names.
            raise Http404(
                f"An address can name at most {MAX_EXCHANGES} exchanges. No cancel was sent."
            )
        if not numbers:
            return cls(exchanges=tuple(Exchange.objects.enabled()), everywhere=True)
        return cls(exchanges=_exchanges([parse_id(number) for number in numbers]))

    @property
    def covered(self) -> list[Exchange]:
        return [exchange for exchange in self.exchanges if exchange.enabled]

    @property
    def disabled(self) -> list[Exchange]:
        return [exchange for exchange in self.exchanges if not exchange.enabled]

    @property
    def only(self) -> Exchange | None:
        """The exchange, when the target is a single one."""
        return self.exchanges[0] if len(self.exchanges) == 1 and not self.everywhere else None

    @property
    def path(self) -> str:
        """The address of its confirmation."""
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
    """What a person confirms: which exchanges, how many orders, and how old that figure is."""

    target: Target
    key: str
    reason: Reason
    hold: bool = False
    in_flight: int = 0  # exchanges with a request in flight
    uncovered: Sequence[UncoveredExchange] = ()

    reasons = REASONS

    @property
    def open_orders(self) -> int | None:
        """The sum of the known open orders; None when no figure is known."""
        counts = [exchange.open_orders for exchange in self.target.covered]
        known_counts = [count for count in counts if count is not None]
        return sum(known_counts) if known_counts else None

    @property
    def is_partial(self) -> bool:
        """Whether an exchange without a figure is missing from the sum."""
        return any(exchange.open_orders is None for exchange in self.target.covered)

    @property
    def seen_at(self) -> datetime | None:
        """The time of the oldest figure in the sum."""
        times = [exchange.seen_at for exchange in self.target.covered if exchange.seen_at]
        return min(times) if times else None

    @property
    def caveats(self) -> list[Exchange]:
        return [exchange for exchange in self.target.covered if exchange.caveat]


def build_confirmation(
    *, target: Target, user_id: int, reason: Reason, hold: bool = False
) -> Confirmation:
    """Return the confirmation of a target, with a fresh key."""
    uncovered_exchanges = tuple(UncoveredExchange.objects.all()) if target.everywhere else ()
    in_flight = CancelRequest.objects.in_flight().filter(configured_exchange__in=target.covered)
    return Confirmation(
        target=target,
        key=target.key(user_id=user_id),
        reason=reason.carried(),
        hold=hold,
        in_flight=in_flight.values("configured_exchange").distinct().count(),
        uncovered=uncovered_exchanges,
    )


def _exchanges(pks: Sequence[int | None]) -> tuple[Exchange, ...]:
    """Return the exchanges with these keys. Raises `Http404` unless each of them exists."""
    valid = {pk for pk in pks if pk is not None and pk <= MAX_ID}
    exchanges = tuple(Exchange.objects.filter(pk__in=valid))
    if len(exchanges) != len(set(pks)):
        raise Http404(
            "This exchange does not exist here. No cancel was sent. Go to the console and choose it"
            " there."
        )
    return exchanges
