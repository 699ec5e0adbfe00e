"""What a confirmation shows and what its form sends back. No reason ever refuses a kill."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Self
from uuid import UUID

from django.http import Http404, HttpRequest, QueryDict
from django.urls import reverse
from django.utils.http import urlencode

from killswitch.cancels import press_keys
from killswitch.cancels.exclusions import Exclusions, find_exclusions
from killswitch.cancels.models import Batch, CancelRequest
from killswitch.exchanges.models import Exchange, ExchangeGroup
from killswitch.runtime.http import MAX_ID, parse_id

OTHER = "Other"
REASONS = ("Runaway algorithm", "Venue incident", "Limit breach", "Drill", OTHER)
MAX_CARRIED_CHARS = 500
QUERY_NAMES = {"exchange", "group", "reason", "hold", "retry_of", "selection"}
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
    group: ExchangeGroup | None = None  # the group that they are, if it was asked for by name
    retry_of: Batch | None = None  # the cancel that this one repeats
    is_unknown_retry: bool = False  # the address names a cancel that this one does not repeat

    @classmethod
    def one(cls, pk: int) -> Self:
        """Return the target of a single exchange. Raises `Http404`."""
        return cls(exchanges=_exchanges([pk]))

    @classmethod
    def everything(cls) -> Self:
        """Return the target of all enabled exchanges."""
        return cls(exchanges=tuple(Exchange.objects.enabled()), everywhere=True)

    @classmethod
    def of_group(cls, group: ExchangeGroup) -> Self:
        """Return the target of a group: its exchanges as they are now."""
        return cls(exchanges=tuple(group.exchanges.all()), group=group)

    @classmethod
    def from_query(cls, request: HttpRequest) -> Self:
        """Return the exchanges that the address names, those of a group, or all enabled ones.

        Raises `Http404`.
        """
        if unknown := sorted(request.GET.keys() - QUERY_NAMES):
            # A mistyped name must not turn "some" into "everywhere".
            raise Http404(
                f"This address contains an unknown part, {unknown[0]!r:.50}. No cancel was sent."
                " Go to the console and start again."
            )
        numbers, groups = request.GET.getlist("exchange"), request.GET.getlist("group")
        if "selection" in request.GET and not numbers:
            # Without scripts, the button of the selection works before anything is selected.
            raise Http404(
                "No exchange is selected. No cancel was sent. Go back and select at least one."
            )
        if len(numbers) > MAX_EXCHANGES:
            # Cancelling on the first of them only would be less than the address names.
            raise Http404(
                f"An address can name at most {MAX_EXCHANGES} exchanges. No cancel was sent."
            )
        if len(groups) > 1 or (groups and numbers):
            raise Http404(
                "An address names either exchanges or one group. No cancel was sent. Go to the"
                " console and start again."
            )
        if groups:
            target = cls.of_group(_group(parse_id(groups[0])))
        elif numbers:
            target = cls(exchanges=_exchanges([parse_id(number) for number in numbers]))
        else:
            target = cls.everything()
        return target._as_retry(request.GET.getlist("retry_of"))

    def _as_retry(self, uuids: Sequence[str]) -> Self:
        """Return the target as a retry of the cancel with this uuid.

        A wrong uuid never refuses a kill. A cancel is only a retry of one that had requests on all
        of its exchanges; otherwise it is recorded as an ordinary one, and the question says so.
        """
        if not uuids:
            return self
        if len(uuids) == 1 and (uuid := _parse_uuid(uuids[0])):
            requests = CancelRequest.objects.filter(batch__uuid=uuid)
            earlier = set(requests.values_list("configured_exchange", flat=True))
            if earlier and earlier.issuperset(exchange.pk for exchange in self.exchanges):
                return replace(self, retry_of=Batch.objects.get(uuid=uuid))
        return replace(self, is_unknown_retry=True)

    @property
    def covered(self) -> list[Exchange]:
        return [exchange for exchange in self.exchanges if exchange.enabled]

    @property
    def disabled(self) -> list[Exchange]:
        return [exchange for exchange in self.exchanges if not exchange.enabled]

    @property
    def only(self) -> Exchange | None:
        """The exchange, when the target is a single one."""
        is_named = not self.everywhere and self.group is None
        return self.exchanges[0] if len(self.exchanges) == 1 and is_named else None

    @property
    def needs_press_and_hold(self) -> bool:
        """Whether its button is kept pressed: one click on the console has chosen many exchanges.

        Exchanges that were chosen one by one, or that failed before, take a plain click.
        """
        return self.everywhere or (self.group is not None and len(self.covered) > 1)

    @property
    def path(self) -> str:
        """The address of its confirmation."""
        if self.only and not self.retry_of:
            return reverse("cancel_one", args=[self.only.pk])
        query: dict[str, Any] = {}
        if self.group:
            query["group"] = self.group.pk
        elif not self.everywhere:
            query["exchange"] = [exchange.pk for exchange in self.exchanges]
        if self.retry_of:
            query["retry_of"] = str(self.retry_of.uuid)
        path = reverse("cancel_all")
        return f"{path}?{urlencode(query, doseq=True)}" if query else path

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
    exclusions: Exclusions | None = None

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
    def never_listed(self) -> list[Exchange]:
        """The exchanges on which a cancel may reach nothing."""
        return [exchange for exchange in self.target.covered if exchange.is_never_listed]

    @property
    def caveats(self) -> list[Exchange]:
        return [exchange for exchange in self.target.covered if exchange.caveat]


def build_confirmation(
    *, target: Target, user_id: int, reason: Reason, hold: bool = False
) -> Confirmation:
    """Return the confirmation of a target, with a fresh key."""
    everywhere = target.everywhere
    disabled = Exchange.objects.filter(enabled=False) if everywhere else target.disabled
    in_flight = CancelRequest.objects.in_flight().filter(configured_exchange__in=target.covered)
    return Confirmation(
        target=target,
        key=target.key(user_id=user_id),
        reason=reason.carried(),
        hold=hold,
        in_flight=in_flight.values("configured_exchange").distinct().count(),
        exclusions=Exclusions.of(
            find_exclusions(included=target.covered, disabled=disabled, everywhere=everywhere)
        ),
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


def _group(pk: int | None) -> ExchangeGroup:
    """Return the group with this key. Raises `Http404`."""
    group = ExchangeGroup.objects.filter(pk=pk).first() if pk is not None and pk <= MAX_ID else None
    if group is None:
        raise Http404(
            "This group does not exist, or was removed. Opening or sending this address has sent no"
            " cancel; an earlier one is under Requests. Go to the console and start again."
        )
    return group


def _parse_uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
