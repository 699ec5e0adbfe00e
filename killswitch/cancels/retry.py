"""What can still be retried of a cancel, and which cancels have followed it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self

from django.db.models import OuterRef, Subquery
from django.utils.crypto import salted_hmac
from django.utils.http import urlencode

from killswitch.accounts.models import User
from killswitch.cancels import press_keys
from killswitch.cancels.confirmation import HOLD, MAX_EXCHANGES, Target
from killswitch.cancels.models import Batch, CancelRequest
from killswitch.cancels.status_display import orders_since
from killswitch.exchanges.models import Exchange
from killswitch.runtime.compiled_query import CompiledQuery

# So long after one's own cancel a single click retries it; later, the question is asked first.
ONE_CLICK_FOR = timedelta(minutes=5)

_retried_exchanges = CompiledQuery(
    lambda pk: CancelRequest.objects.filter(batch__retry_of=pk).values_list(
        "batch", "configured_exchange"
    ),
    parameters=1,
)


@dataclass(frozen=True, kw_only=True)
class NewOrders:
    """Open orders on an exchange that the newest cancel there does not account for."""

    exchange: Exchange
    count: int


@dataclass(frozen=True, kw_only=True)
class RetryOffer:
    """The exchanges to retry, how that is sent, and which cancels have followed."""

    target: Target | None  # failed, enabled, and without a later request by anyone
    key: str  # of the button that sends it at once; "" if the question is asked first
    reason: str  # never another person's
    hold: bool  # as the reason
    retries: Sequence[Batch]
    later: Sequence[Batch]  # other cancels that followed on exchanges that had failed
    new_orders: Sequence[NewOrders]

    @classmethod
    def of(cls, batch: Batch, requests: Sequence[CancelRequest], *, user: User) -> Self:
        """Return what this person can retry of these requests of a batch, in three queries at most.

        The requests need their `configured_exchange`. While all of them are in flight, nothing has
        failed and no order can be new, so later requests are not looked for.
        """
        newest = _newest_requests(requests) if any(row.is_final for row in requests) else {}
        latest = {row.pk for row in newest.values()}
        failed = [request for request in requests if request.needs_attention]
        exchanges = tuple(
            request.configured_exchange
            for request in failed
            if request.pk in latest and request.configured_exchange.enabled
        )
        target = Target(exchanges=exchanges[:MAX_EXCHANGES], retry_of=batch) if exchanges else None
        retries = _retries(batch, requests)
        followers = {
            newest[request.configured_exchange_id].batch
            for request in failed
            if request.pk not in latest
        }
        is_own = batch.by_id == user.pk
        return cls(
            target=target,
            key=_one_click_key(batch, target, user=user) if target and is_own else "",
            reason=batch.reason if is_own else "",
            hold=batch.hold and is_own,
            retries=retries,
            later=sorted(followers - set(retries), key=lambda follower: follower.pk),
            new_orders=[
                NewOrders(exchange=request.configured_exchange, count=count)
                for request in requests
                if request.pk in latest
                if (count := orders_since(request, request.configured_exchange))
            ],
        )

    @property
    def address(self) -> str:
        """The address of the question, filled with what is carried."""
        if self.target is None:
            return ""
        carried = {"reason": self.reason, HOLD: HOLD if self.hold else ""}
        fields = urlencode({name: value for name, value in carried.items() if value})
        return "&".join(filter(None, (self.target.path, fields)))


def _newest_requests(requests: Sequence[CancelRequest]) -> dict[int, CancelRequest]:
    """Return the newest request of each of these requests' exchanges, by the exchange's key.

    Of a new cancel, these are its own requests, which are not read again.
    """
    of_exchange = CancelRequest.objects.filter(configured_exchange=OuterRef("pk")).order_by("-id")
    newest_ids = (
        Exchange.objects.filter(pk__in=[request.configured_exchange_id for request in requests])
        .order_by()
        .values_list(Subquery(of_exchange.values("id")[:1]), flat=True)
    )
    own = {request.pk: request for request in requests}
    ids = set(newest_ids)
    rows = [own[pk] for pk in ids & own.keys()]
    if later := ids - own.keys():
        rows += CancelRequest.objects.filter(pk__in=later).select_related("batch")
    return {row.configured_exchange_id: row for row in rows}


def _retries(batch: Batch, requests: Sequence[CancelRequest]) -> list[Batch]:
    """Return the retries of a batch that were sent to exchanges of these requests, oldest first."""
    exchanges = {request.configured_exchange_id for request in requests}
    pks = {pk for pk, exchange in _retried_exchanges.rows(batch.pk) if exchange in exchanges}
    return list(Batch.objects.filter(pk__in=pks).order_by("id"))  # no query without retries


def _one_click_key(batch: Batch, target: Target, *, user: User) -> str:
    """Return the key of the button that retries at once; "" when the batch is too old for it.

    Each page with this button makes the same press of it: in two windows as well, it counts once.
    """
    if not timedelta(0) <= datetime.now(UTC) - batch.asked_at <= ONE_CLICK_FOR:
        return ""
    press = f"{batch.uuid} {user.pk} {target.signed_text}"
    return press_keys.make(
        user_id=user.pk,
        target=target.signed_text,
        nonce=salted_hmac("killswitch.cancels.retry", press, algorithm="sha256").hexdigest(),
        valid_until=batch.asked_at + ONE_CLICK_FOR,
    )
