"""The confirmation of a cancel by break glass: what it asks, offers and sends back.

Reads no database.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Self
from urllib.parse import urlencode

from django.conf import settings
from django.http import HttpRequest, QueryDict
from django.urls import Resolver404, resolve, reverse

from killswitch.accounts.officer_cookie import KnownOfficer, known_officer
from killswitch.audit import canonical_json
from killswitch.break_glass import exchange_snapshot
from killswitch.break_glass.exchange_snapshot import KnownExchange, NoSnapshot, Snapshot
from killswitch.cancels import press_keys
from killswitch.cancels.confirmation import QUERY_NAMES, REASONS, Reason
from killswitch.ems.exchange_ids import InvalidExchangeId, check_exchange_id
from killswitch.runtime.http import parse_id

MAX_KEY_AGE = timedelta(minutes=10)
MAX_EXCHANGES = 900  # with the other fields of the form, Django takes no more


class InvalidQuestion(Exception):
    """The form or the address names too many exchanges, or what cannot be the ID of one."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """Cancel on these exchanges without the log?"""

    exchange_ids: Sequence[str]
    everywhere: bool
    snapshot: Snapshot | None

    @classmethod
    def of_everything(cls) -> Self:
        """Ask about all exchanges that were enabled when last known; none without a snapshot."""
        snapshot = _snapshot()
        rows = snapshot.exchanges if snapshot else ()
        names = [row.exchange_id for row in rows if row.enabled]
        return cls(exchange_ids=tuple(names), everywhere=True, snapshot=snapshot)

    @classmethod
    def of_ids(cls, exchange_ids: Sequence[str]) -> Self:
        """Ask about the exchanges with these IDs."""
        names = tuple(dict.fromkeys(exchange_ids))
        return cls(exchange_ids=names, everywhere=False, snapshot=_snapshot())

    @classmethod
    def of_numbers(cls, numbers: Sequence[int], *, group: int | None = None) -> Self:
        """Ask about the exchanges with these numbers in addresses, or those of a group.

        One that the snapshot does not have is left out.
        """
        snapshot = _snapshot()
        if snapshot and group is not None:
            numbers = snapshot.groups.get(str(group), ())
        rows = snapshot.exchanges if snapshot else ()
        names = tuple(row.exchange_id for row in rows if row.id in set(numbers))
        return cls(exchange_ids=names, everywhere=False, snapshot=snapshot)

    @classmethod
    def of_form(cls, data: QueryDict) -> Self:
        """Ask what a form or an address names: some exchanges, or all of them.

        The form of a cancel everywhere names the exchanges as well: they may be others by now.
        Raises `InvalidQuestion`.
        """
        names = data.getlist("exchange")
        if not names:
            return cls.of_everything()
        if len(names) > MAX_EXCHANGES:
            raise InvalidQuestion
        try:
            for name in names:
                check_exchange_id(name)
        except InvalidExchangeId as error:
            raise InvalidQuestion from error
        return replace(cls.of_ids(names), everywhere="everywhere" in data)

    @classmethod
    def of_failed_page(cls, request: HttpRequest) -> Self:
        """Ask about the exchanges of a page about some of them, and about all on any other."""
        try:
            match = resolve(request.path_info)
        except Resolver404:
            return cls.of_everything()
        if match.url_name in ("cancel_one", "exchange", "hold"):
            return cls.of_numbers([match.kwargs["pk"]])
        if match.url_name != "cancel_all":
            return cls.of_everything()
        groups, numbers = request.GET.getlist("group"), request.GET.getlist("exchange")
        is_unclear = request.GET.keys() - QUERY_NAMES or (groups and numbers) or len(groups) > 1
        if is_unclear or ("selection" in request.GET and not numbers):
            return cls.of_numbers([])  # a mistyped name must not turn "some" into "everywhere"
        if groups:
            return cls.of_numbers([], group=parse_id(groups[0]))
        if numbers:
            return cls.of_numbers([pk for pk in map(parse_id, numbers) if pk is not None])
        return cls.of_everything()

    @property
    def known(self) -> list[KnownExchange]:
        """Return what the snapshot knows of the exchanges."""
        rows = [self.snapshot.find(name) if self.snapshot else None for name in self.exchange_ids]
        return [row for row in rows if row]

    @property
    def limited(self) -> list[KnownExchange]:
        """Return the exchanges with known limits."""
        return [row for row in self.known if row.caveat]

    @property
    def only(self) -> str:
        """Return the exchange ID of a question about a single one, or ""."""
        return self.exchange_ids[0] if len(self.exchange_ids) == 1 and not self.everywhere else ""

    @property
    def names(self) -> str:
        """Return the exchange IDs, as one text."""
        return ", ".join(self.exchange_ids)

    @property
    def seen_at(self) -> datetime | None:
        """Return the time of the oldest figure in the sum."""
        times = [row.seen_at for row in self.known if row.seen_at and row.open_orders is not None]
        return datetime.fromisoformat(min(times)) if times else None

    @property
    def open_orders(self) -> int | None:
        """Return the sum of the open orders when last known; None if no figure is known."""
        counts = [row.open_orders for row in self.known if row.open_orders is not None]
        return sum(counts) if counts else None

    @property
    def is_partial(self) -> bool:
        """Return True if the figure of some exchange is missing in the sum."""
        counted = sum(row.open_orders is not None for row in self.known)
        return 0 < counted < len(self.exchange_ids)

    @property
    def console_address(self) -> str:
        """Return the address of the console's own confirmation of a cancel on these exchanges."""
        numbers = [row.id for row in self.known]
        if self.everywhere or not numbers:
            return reverse("cancel_all")
        if len(numbers) == 1:
            return reverse("cancel_one", args=numbers)
        return f"{reverse('cancel_all')}?{urlencode({'exchange': numbers}, doseq=True)}"

    def make_key(self, *, user_id: int) -> str:
        """Return a fresh one-use key for this person and these exchanges."""
        valid_until = datetime.now(UTC) + MAX_KEY_AGE
        return press_keys.make(user_id=user_id, target=self._key_target, valid_until=valid_until)

    def read_key(self, key: str, *, user_id: int) -> str:
        """Return the nonce of a key. Raises the errors of `press_keys.read`."""
        return press_keys.read(key, user_id=user_id, target=self._key_target)

    @property
    def _key_target(self) -> str:
        target = canonical_json.encode([self.everywhere, sorted(self.exchange_ids)])
        return f"break glass {hashlib.sha256(target.encode()).hexdigest()[:32]}"


@dataclass(frozen=True, kw_only=True)
class Offer:
    """A question that a known officer may answer, with a fresh one-use key."""

    question: Question
    key: str
    officer: KnownOfficer
    reason: Reason

    reasons = REASONS

    @classmethod
    def make(cls, request: HttpRequest, question: Question, officer: KnownOfficer) -> Self:
        """Return an offer, filled with what the request carries."""
        data = request.POST if request.method == "POST" else request.GET
        return cls(
            question=question,
            key=question.make_key(user_id=officer.user_id),
            officer=officer,
            reason=Reason.from_form(data).carried(),
        )

    @classmethod
    def of_failed_page(cls, request: HttpRequest) -> Self | None:
        """Return what to offer in place of the page that failed; None to all but known officers."""
        officer = known_officer(request)
        return cls.make(request, Question.of_failed_page(request), officer) if officer else None


def _snapshot() -> Snapshot | None:
    try:
        return exchange_snapshot.read(settings.KILLSWITCH_HOME)
    except NoSnapshot:
        return None
